r"""What stands where in Redis, and how it is written.

A store has a fixed number of keys, all with one hash tag, so that a cluster keeps them on one
server and a script may change several of them at once; all are handed to each script, which makes
up no others. Records stand in hashes, by id. Everything that is looked for in an order stands in a
sorted set whose scores are all 0, which Redis keeps in the order of bytes: scores are floating
point, in which an instant of the year 9999 isn't exact. An entry is a line of words, the first of
which says whose it is, the next one where it stands in the order; instants are written with so many
digits that their order is that of their texts.

    tasks        hash   where a task stands, by its id
    definitions  hash   the text of its definition
    ids          order  task: all of them, in the order of their ids
    due          order  executor, due time, task, function: scheduled tasks that are due some time
    finished     order  time, task: disposable tasks that are finished
    labels       order  kind, value, task: what few tasks have, and is asked for
    counts       hash   the number of tasks, by schedule state
    runs         hash   runs, by their id
    newest       order  run: all of them; ids of runs begin with the time of their creation
    history      order  task, run
    available    order  executor, rank, instant, run, task, function: pending runs that may be
                        leased
    suspects     order  the same for suspects
    queues       order  task, generation, due time, run, executor, function, rank, limit, key: runs
                        that wait for others of their task
    holders      hash   how many runs hold a key
    waiters      order  key, rank, instant, run, limit, executor, task, function: runs that wait for
                        their key
    asked        order  node, run: leased runs whose end was asked for
    expiring     order  instant, run: runs that are over, and may be forgotten from then on
    leases       order  node, fence: steps some of whose runs are still leased
    grants       hash   node and runs of such a step, by its fence
    holds        hash   how many of them are still leased
    nodes        hash   nodes, by their id
    epochs       hash   how often a node has asked what it holds
    fence        text   the last fence
    changes      text   how often tasks were changed
    locks        hash   locks, by their name
    lapsing      order  instant, lock: all of them, by when they say nothing any more
    documents    hash   documents, by their entries in `titles`
    titles       order  kind, key: all documents, in the order of their keys
    dated        order  instant, kind, key: those that expire, by when

A rank of 0, which most runs have, isn't written but in `waiters`; others begin with a sign that
sorts before or behind all digits. So whoever looks for runs of the lowest rank that are available
by now looks at each rank that there is once, however many runs are available later. Limit and key
of a queued run are there only if it has a key.

Each text of a task or a run has some digits at the end of what it began with that say nothing: see
`scattered`. Those of earlier versions have none.

There is no set of slots. A task knows the latest fire time that it has made a run for, and whatever
is planned after that has a slot of its own; only where a task was moved back, its history is asked.
"""

from functools import lru_cache

from tickwork.model.json_text import from_text, to_text

__all__ = [
    "KEYS",
    "after",
    "from_word",
    "id_entry",
    "id_of",
    "instant_of",
    "instant_word",
    "key_names",
    "name_word",
    "rank_word",
    "scattered",
    "word",
]

KEYS = (
    "tasks",
    "definitions",
    "ids",
    "due",
    "finished",
    "labels",
    "counts",
    "runs",
    "newest",
    "history",
    "available",
    "suspects",
    "queues",
    "leases",
    "grants",
    "holds",
    "nodes",
    "epochs",
    "fence",
    "changes",
    "holders",
    "waiters",
    "asked",
    "expiring",
    "locks",
    "lapsing",
    "documents",
    "titles",
    "dated",
)
"""The keys of a store; scripts know them by these names, in capitals."""

_OFFSET = 2 * 10**18
_RANKS = 10**10
_SCATTERING = 0x9E3779B97F4A7C15
_POSITIVE = 2**63 - 1


def key_names(prefix: str) -> tuple[str, ...]:
    """Return the names of all keys, in the order of `KEYS`."""
    return tuple(f"{{{prefix}}}:{name}" for name in KEYS)


def word(text: str) -> str:
    """Return a text as JSON has it between quotes: so it may stand in a line of words."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return to_text(text)[1:-1]


@lru_cache(maxsize=1_000)
def name_word(name: str) -> str:
    """Return the word of a name of which there are few: of an executor, a function, a node."""
    return word(name)


def from_word(written: str) -> str:
    """Return the text that a word was made of."""
    return str(from_text(f'"{written}"')) if "\\" in written else written


def instant_word(instant_us: int) -> str:
    """Return an instant as text whose order is that of time."""
    return str(instant_us + _OFFSET)


def instant_of(written: str) -> int:
    """Return the instant of a word."""
    return int(written) - _OFFSET


def rank_word(rank: int) -> str:
    """Return a rank as text whose order is that of ranks."""
    if not rank:
        return "0"
    return f":{rank:010}" if rank > 0 else f"-{_RANKS + rank:010}"


def scattered(text: str) -> str:
    """Return digits that are all others for another text, to be put into a record.

    Lua keeps each string once, and finds it by some 30 of its letters, evenly spread. Texts of
    thousands of records that differ only in a number are the same to it, so each is compared with
    all others; of some 30 digits, three are among those that it looks at in a record of usual size.
    They are others in each process; nobody looks for them.
    """
    return f"{(hash(text) & _POSITIVE) * _SCATTERING:x}"


def after(line: str) -> str:
    """Return what stands behind all entries that begin with the words of a line."""
    return f"{line}\v"


def id_entry(task_id: str) -> str:
    """Return an id without control characters, such that the order of ids stays what it is."""
    if task_id.isprintable():
        return task_id
    return "".join(f"\x01{chr(ord(each) + 64)}" if each < " " else each for each in task_id)


def id_of(entry: str) -> str:
    """Return the id of an entry."""
    first, *others = entry.split("\x01")
    return "".join((first, *(chr(ord(each[0]) - 64) + each[1:] for each in others)))
