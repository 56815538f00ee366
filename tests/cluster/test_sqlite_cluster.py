from pathlib import Path

import pytest

from tests.cluster.scenarios import ClusterScenarios


class TestSQLiteCluster(ClusterScenarios):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'cluster.db'}"
