"""The entries of the orders, as `layout` describes them."""

from collections.abc import Sequence

from tickwork.model.records import RunRecord
from tickwork.stores.redis.layout import instant_word, rank_word, word

__all__ = [
    "asked_entry",
    "available_entry",
    "due_entry",
    "expiry_entry",
    "finished_entry",
    "history_entry",
    "offer_entry",
    "queue_entry",
    "waiter_entry",
]


def due_entry(executor: str, function: str, task: str, due_us: int) -> str:
    """Return the entry of a task that is due some time; all of words."""
    return f"{executor}\n{instant_word(due_us)}\n{task}\n{function}"


def finished_entry(task: str, updated_us: int) -> str:
    """Return the entry of a finished task, by the word of its id."""
    return f"{instant_word(updated_us)}\n{task}"


def offer_entry(line: Sequence[str]) -> str:
    """Return the entry of a run that may be leased: executor, rank, instant, and so on."""
    executor, rank, *others = line
    return "\n".join((executor, *others) if rank == "0" else line)


def available_entry(run: RunRecord) -> str:
    """Return the entry of a pending run that may be leased."""
    instant = instant_word(run.available_us or 0)
    about = f"{word(run.task_id)}\n{word(run.function)}"
    rank = f"{rank_word(run.rank)}\n" if run.rank else ""
    return f"{word(run.executor)}\n{rank}{instant}\n{run.id}\n{about}"


def queue_entry(run: RunRecord) -> str:
    """Return the entry of a pending run that waits for others."""
    instant = instant_word(run.due_us or 0)
    about = f"{word(run.executor)}\n{word(run.function)}"
    if run.key is not None:
        about += f"\n{rank_word(run.rank)}\n{run.key_limit}\n{word(run.key)}"
    elif run.rank:
        about += f"\n{rank_word(run.rank)}"
    return f"{word(run.task_id)}\n{run.generation}\n{instant}\n{run.id}\n{about}"


def waiter_entry(run: RunRecord) -> str:
    """Return the entry of a pending run that waits for its key."""
    instant = instant_word(run.gated_us or 0)
    place = f"{word(run.key or '')}\n{rank_word(run.rank)}\n{instant}\n{run.id}\n{run.key_limit}"
    return f"{place}\n{word(run.executor)}\n{word(run.task_id)}\n{word(run.function)}"


def asked_entry(node: str, run_id: str) -> str:
    """Return the entry of a run whose end was asked for, by the word of its node's id."""
    return f"{node}\n{run_id}"


def expiry_entry(run_id: str, expires_us: int) -> str:
    """Return the entry of a run that may be forgotten from an instant on."""
    return f"{instant_word(expires_us)}\n{run_id}"


def history_entry(run: RunRecord) -> str:
    """Return the entry of a run in the history of its task."""
    return f"{word(run.task_id)}\n{run.id}"
