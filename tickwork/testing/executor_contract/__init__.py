"""What every executor must do, as tests: subclass `ExecutorContract`, say how one is made, run it.

The methods named `test_...` know no test framework. Nothing here sleeps: a job that must not end
yet stands at a `Gate`, and whoever waits, waits for a signal with a deadline.
"""

from tickwork.testing.executor_contract.cancelling import CancellingContract
from tickwork.testing.executor_contract.case import NotingJob, Reports, make_job, result_of
from tickwork.testing.executor_contract.ending import EndingContract
from tickwork.testing.executor_contract.gate import (
    DEADLINE_S,
    Gate,
    stand_at_gate,
    stand_at_gate_later,
)
from tickwork.testing.executor_contract.jobs import add, add_later
from tickwork.testing.executor_contract.places import PlacesContract
from tickwork.testing.executor_contract.results import ResultsContract
from tickwork.testing.executor_contract.speaking import SpeakingContract

__all__ = [
    "DEADLINE_S",
    "ExecutorContract",
    "Gate",
    "NotingJob",
    "Reports",
    "add",
    "add_later",
    "make_job",
    "result_of",
    "stand_at_gate",
    "stand_at_gate_later",
]


class ExecutorContract(
    ResultsContract, SpeakingContract, PlacesContract, EndingContract, CancellingContract
):
    """The contract of `tickwork.interfaces.Executor` and `Cancelling`."""
