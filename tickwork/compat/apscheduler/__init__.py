"""APScheduler's names, as its third version has them: schedulers, jobs, triggers, events.

```python
from tickwork.compat.apscheduler import BackgroundScheduler

scheduler = BackgroundScheduler(
    jobstores={"default": {"type": "sqlalchemy", "url": "sqlite:///jobs.db"}},
    job_defaults={"coalesce": False, "max_instances": 3},
)
scheduler.add_job(tick, "interval", seconds=3, id="tick")
scheduler.start()
scheduler.reschedule_job("tick", trigger="cron", minute="*/5")
```

A fire time that is late by more than a second is missed, as there. A job is one of our tasks, a
scheduler one of ours, each with more names.
"""

from tickwork.compat.apscheduler.events import (
    EVENT_ALL,
    EVENT_JOB_ADDED,
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_JOB_MODIFIED,
    EVENT_JOB_REMOVED,
    EVENT_JOB_SUBMITTED,
    EVENT_SCHEDULER_PAUSED,
    EVENT_SCHEDULER_RESUMED,
    EVENT_SCHEDULER_SHUTDOWN,
    EVENT_SCHEDULER_STARTED,
    JobEvent,
)
from tickwork.compat.apscheduler.schedulers import (
    AsyncIOScheduler,
    BackgroundScheduler,
    BlockingScheduler,
    Job,
)
from tickwork.compat.apscheduler.words import CronTrigger, DateTrigger, IntervalTrigger
from tickwork.errors import ConflictingTaskError as ConflictingIdError
from tickwork.errors import TaskNotFoundError as JobLookupError
from tickwork.executors import ProcessPoolExecutor, ThreadPoolExecutor
from tickwork.triggers import AndTrigger, CalendarIntervalTrigger, OrTrigger

__all__ = [
    "EVENT_ALL",
    "EVENT_JOB_ADDED",
    "EVENT_JOB_ERROR",
    "EVENT_JOB_EXECUTED",
    "EVENT_JOB_MAX_INSTANCES",
    "EVENT_JOB_MISSED",
    "EVENT_JOB_MODIFIED",
    "EVENT_JOB_REMOVED",
    "EVENT_JOB_SUBMITTED",
    "EVENT_SCHEDULER_PAUSED",
    "EVENT_SCHEDULER_RESUMED",
    "EVENT_SCHEDULER_SHUTDOWN",
    "EVENT_SCHEDULER_STARTED",
    "AndTrigger",
    "AsyncIOScheduler",
    "BackgroundScheduler",
    "BlockingScheduler",
    "CalendarIntervalTrigger",
    "ConflictingIdError",
    "CronTrigger",
    "DateTrigger",
    "IntervalTrigger",
    "Job",
    "JobEvent",
    "JobLookupError",
    "OrTrigger",
    "ProcessPoolExecutor",
    "ThreadPoolExecutor",
]
