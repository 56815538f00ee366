"""What is leased together is looked at together, and each run still calls its own function."""

from tests.unit.scheduler.conftest import Home


def test_runs_that_are_leased_together_call_each_its_own_function(memory_home: Home) -> None:
    called: list[tuple[str, ...]] = []

    def asking(task_id: str, run_id: str) -> None:
        called.append((task_id, run_id))

    def plain(number: int) -> None:
        called.append((f"plain {number}",))

    scheduler = memory_home.start()
    for number in range(3):
        scheduler.add_task(asking, id=f"asking {number}")
        scheduler.add_task(plain, args=[number], id=f"plain {number}")
    scheduler.add_task(plain, args=[3], id="plain 3")
    scheduler.step()
    runs = {run.task_id: run.id for run in scheduler.get_runs()}
    asked = [(name, run_id) for name, run_id in runs.items() if name.startswith("asking")]
    assert len(runs) == 7
    assert sorted(called) == sorted([*asked, *((f"plain {number}",) for number in range(4))])
