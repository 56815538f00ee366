from tickwork.executors import InlineExecutor
from tickwork.testing.executor_contract import ExecutorContract


class TestInlineExecutor(ExecutorContract):
    def make_executor(self) -> InlineExecutor:
        return InlineExecutor()
