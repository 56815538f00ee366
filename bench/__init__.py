"""Tickwork beside other schedulers, measured in one run on one machine: `python -m bench`.

- The same no-op function for everybody, importable, counted exactly: a measurement in which
  anything else than N calls were made is an error, not a result.
- Each measurement has a process of its own, peers in virtual environments of their own
  (`bench.environments`). What is shown is the median of two, or of three where the two differ, with
  the least and the most; of seven where a burst is over within a tenth of a second. While a
  measurement runs, the processor time of everything else on the machine is watched; where that
  disturbed it, it is made again.
- Peers get what is best for them: no limit of misfires (nothing is dropped), their coroutine
  executor for coroutines, as many threads as ours (ten, APScheduler's default), their bulk
  operations where they have some. Nobody logs.
- APScheduler (3, and the alpha of 4) and asyncz are schedulers like ours. Huey, procrastinate and
  rq are queues, whose jobs may be due later: theirs are in the queue before the clock starts, and
  there are no recurring ones.
- `floor`, `recorded`, `bare` and `raw` are no schedulers: a bare heap with `create_task`, one that
  keeps a record of each run, a bare loop over a store, and what the driver of a store alone can
  write. They say where the limit is.
- On the same store all have the same durability: SQLite with a write-ahead log and
  `synchronous=FULL`; PostgreSQL with `fsync` and `synchronous_commit`; Redis with its append-only
  log, forced to the disk each second. In files only tickwork waits for the disk.
- Servers run on this machine, on the same processors, behind sockets in the file system.
- Peers keep no record of a run, but for procrastinate and rq, which keep their jobs. Ours are
  written all the same, and unless said otherwise our time ends when the last record is written,
  theirs with the last call.
"""
