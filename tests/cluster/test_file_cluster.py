from pathlib import Path

import pytest

from tests.cluster.edges import Edges, Halfway, Inside
from tests.cluster.failing import FailingSteps
from tests.cluster.killing import Killing, Stopping
from tests.cluster.living import Living


class OnFiles:
    @pytest.fixture
    def store(self, tmp_path: Path) -> str:
        return f"file://{tmp_path / 'store'}"


class TestFileCluster(OnFiles, Killing, FailingSteps, Edges, Inside):
    pass


@pytest.mark.soak
class TestFileClusterLiving(OnFiles, Halfway, Stopping, Living):
    pass
