from pathlib import Path

import pytest

from tests.cluster.edges import Edges, Halfway, Inside
from tests.cluster.failing import FailingSteps
from tests.cluster.killing import Killing, Stopping
from tests.cluster.living import Living


class TestSQLiteCluster(Killing, FailingSteps, Edges, Inside, Halfway, Stopping, Living):
    @pytest.fixture
    def store(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'cluster.db'}"
