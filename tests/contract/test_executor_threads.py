from tickwork.executors import ThreadPoolExecutor
from tickwork.testing.executor_contract import ExecutorContract


class TestThreadPoolExecutor(ExecutorContract):
    def make_executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor()
