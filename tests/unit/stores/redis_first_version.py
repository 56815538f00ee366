"""A data set as the first version of the store wrote it: before ranks, keys, notes and counts."""

from typing import Any

from tests.unit.stores.redis_place import Place

__all__ = ["IDS", "write_first_version"]

IDS = {
    name: f"0647484620300000000{number}contract"
    for number, name in enumerate(("retry", "queued", "leased", "marked", "over"))
}
_TASK = '["finished",null,null,0,{0},null,null,null,null,{1},{1},{0},"threadpool","shop.jobs:f",[]]'
_RUN = '["{0}",1,"scheduled","shop.jobs:f","threadpool",{1},{1},{1},{1},1,true,1767225600000000]'
_DEFINITION = (
    '{"version":1,"function":"shop.jobs:f","name":"close day",'
    '"trigger":{"kind":"interval","version":1,"interval_us":60000000}}'
)
_T0 = 1_767_225_600_000_000
_FENCE = "1795335702389842"
_NODE = (
    'A 1767225630000000 1767225600000000\n{"id":"node-1","host":"","pid":0,"version":"",'
    '"started_us":0,"beat_us":0,"expires_us":0,"offset_us":0,"executors":[],"unresolved":[]}'
)


def _tasks() -> dict[str, str]:
    due = f'["scheduled",{_T0 + 1},{_T0 + 1},0,null,null,null,null,null,{_T0},{_T0},null,'
    ended = _TASK.format(_T0, _T0)
    return {
        "due": f'1 0 0 0\n{due}"threadpool","shop.jobs:f",[]]',
        "leased": f"1 1 1 0\n{ended}",
        "marked": f"1 1 1 0\n{ended}",
        "over": f"1 2 0 0\n{ended}",
        "task": f"1 1 2 1\n{_TASK.format(_T0 + 1, _T0)}",
    }


def _runs() -> dict[str, str]:
    over = f'{{"state":"completed","finished_us":{_T0 + 2},"started_us":{_T0 + 1},"result":"1"}}'
    retry = '{"failures":1,"errors":"[1]"}'
    return {
        IDS["retry"]: f"1795335702385405 A 1 {2 * 10**18 + _T0 + 2}\n{_run('task')},{retry}",
        IDS["queued"]: f"0 Q 0 \n{_run('task', _T0 + 1)}",
        IDS["leased"]: f"{_FENCE} L 1 node-1\n{_run('leased')}",
        IDS["marked"]: f'{_FENCE} M 1 node-1\n{_run("marked")},{{"started_us":{_T0}}}',
        IDS["over"]: f"{_FENCE} E 1 \n{_run('over')},{over}",
    }


def _run(task: str, fire_us: int = _T0) -> str:
    return _RUN.format(task, fire_us)


def write_first_version(place: Place) -> None:
    """Write the data set, with the driver."""
    tasks, runs = _tasks(), _runs()
    about = "shop.jobs:f"
    hashes: dict[str, dict[str, Any]] = {
        "tasks": tasks,
        "definitions": dict.fromkeys(tasks, _DEFINITION),
        "counts": {"finished": 4, "scheduled": 1},
        "runs": runs,
        "grants": {_FENCE: "\n".join(("node-1", IDS["leased"], IDS["marked"], IDS["over"]))},
        "holds": {_FENCE: 2},
        "nodes": {"node-1": _NODE},
    }
    owners = {**{name: name for name in ("leased", "marked", "over")}, "retry": "task"}
    orders = {
        "ids": list(tasks),
        "due": [f"threadpool\n{2 * 10**18 + _T0 + 1}\ndue\n{about}"],
        "newest": list(runs),
        "history": [f"{owners.get(name, 'task')}\n{run_id}" for name, run_id in IDS.items()],
        "available": [f"threadpool\n{2 * 10**18 + _T0 + 2}\n{IDS['retry']}\ntask\n{about}"],
        "queues": [f"task\n1\n{2 * 10**18 + _T0 + 1}\n{IDS['queued']}\nthreadpool\n{about}"],
        "leases": [f"node-1\n{_FENCE}"],
    }
    for name, fields in hashes.items():
        place.client.hset(place.keys[name], mapping=fields)
    for name, entries in orders.items():
        place.client.zadd(place.keys[name], dict.fromkeys(entries, 0))
    place.client.set(place.keys["fence"], _FENCE)
    place.client.set(place.keys["changes"], 7)
