"""The example's tasks: small chores on files, declared with decorators.

Importing this module touches no store. `examples.main_job` runs it and tells what happens; so does
`tickwork run examples.jobs:scheduler`, and `tickwork tasks --store sqlite:///.demo/tasks.db` looks
at it from outside.
"""

import asyncio
import csv
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import tickwork
from tickwork import Scheduler, TaskError

__all__ = ["DEMO", "scheduler"]

DEMO = Path(".demo")
SIZES = DEMO / "sizes"
MEASURED = Path(tickwork.__file__).parent

scheduler = Scheduler(f"sqlite:///{DEMO}/tasks.db")


@scheduler.task(every="5s", id="sizes", tags=["files"])
def write_sizes() -> str:
    """Write the size of each folder of tickwork itself to a new CSV file."""
    SIZES.mkdir(parents=True, exist_ok=True)
    target = SIZES / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.csv"
    rows = list(_folder_sizes(MEASURED))
    # Written beside and moved, so that nobody ever reads half a file.
    draft = target.with_suffix(".part")
    with draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["folder", "files", "bytes"])
        writer.writerows(rows)
    draft.replace(target)
    return f"{len(rows)} folders, {sum(size for _, _, size in rows):,} bytes"


def _folder_sizes(root: Path) -> Iterator[tuple[str, int, int]]:
    for folder, _, names in os.walk(root):
        paths = [Path(folder, name) for name in names]
        sizes = [path.stat().st_size for path in paths if path.is_file()]
        yield str(Path(folder).relative_to(root)), len(sizes), sum(sizes)


@scheduler.task(every="12s", id="rotation", kwargs={"keep": 5}, tags=["files"])
def rotate(keep: int) -> str:
    """Delete all but the newest CSV files."""
    old = sorted(SIZES.glob("*.csv"))[:-keep]
    for path in old:
        path.unlink(missing_ok=True)
    return f"{len(old)} old files deleted, at most {keep} kept"


@scheduler.task(cron="0 8 * * *", timezone="Europe/Berlin", id="daily-report", tags=["report"])
def write_report() -> str:
    """Write a page on what was measured and on how the tasks fare."""
    lines = [f"Report of {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC", ""]
    newest = max(SIZES.glob("*.csv"), default=None)
    if newest is not None:
        with newest.open(newline="", encoding="utf-8") as file:
            measured = list(csv.DictReader(file))
        largest = max(measured, key=lambda row: int(row["bytes"]))
        total = sum(int(row["bytes"]) for row in measured)
        lines.append(f"{total:,} bytes in {len(measured)} folders; largest: {largest['folder']}")
    for task in scheduler.get_tasks():
        last = next(iter(scheduler.get_runs(task=task.id, limit=1)), None)
        lines.append(f"{task.id}: {task.trigger_description}; last run: {last and last.status}")
    (DEMO / "report.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"{len(lines)} lines"


# The same report more often, so that it is seen: one function may serve several tasks.
scheduler.add_task(
    write_report, "interval", seconds=10, id="report-now-and-then", replace_existing=True
)


@scheduler.task(every="3s", id="free-space", misfire_grace_time=5, tags=["watch"])
async def check_free_space() -> str:
    """Look at the disk; five seconds late is too late, then only the next look counts."""
    usage = await asyncio.to_thread(shutil.disk_usage, DEMO)
    return f"{usage.free / usage.total:.0%} of the disk is free"


@scheduler.task(every="9s", id="backup", executor="processpool", tags=["files"])
def back_up() -> str:
    """Pack tickwork's own files, which takes a processor a while: a child process does it."""
    draft = shutil.make_archive(str(DEMO / "draft"), "xztar", MEASURED)
    archive = Path(draft).replace(DEMO / "backup.tar.xz")
    return f"{archive} has {archive.stat().st_size:,} bytes"


@scheduler.task(every="7s", id="price-list", tags=["broken"])
def import_prices() -> None:
    """Read a file that nobody ever delivers."""
    path = DEMO / "prices.csv"
    if not path.exists():
        raise TaskError("not-delivered", f"{path} isn't there")


@scheduler.task("shutdown", id="farewell")
def say_farewell() -> str:
    """Leave a note when the scheduler is stopped cleanly."""
    (DEMO / "stopped.txt").write_text(f"{datetime.now(UTC).isoformat()}\n", encoding="utf-8")
    return "note written"
