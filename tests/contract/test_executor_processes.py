from tickwork.executors import ProcessPoolExecutor
from tickwork.testing.executor_contract import ExecutorContract


class TestProcessPoolExecutor(ExecutorContract):
    def make_executor(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(2)
