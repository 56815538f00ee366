"""Other schedulers' spellings, over the same core: only the imports of a program change.

`asyncz`, `apscheduler`, `grelmicro`, `taskflow` (fastapi-taskflow), `xitzin` and `nexios` (its
tasks) each have the names of the system that they are called after, whatever module of it those
were in. They add no logic: where a rule of theirs differs from ours, it is set as a default.
`docs/coming_from.md` has their ways beside ours.
"""
