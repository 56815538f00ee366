"""Tickwork beside other schedulers, measured in one run on one machine: `python -m bench`.

- The same no-op function for everybody, importable, counted exactly: a measurement in which
  anything else than N calls were made is an error, not a result.
- Each measurement has a process of its own. What is shown is the median of several, with the least
  and the most. While a measurement runs, the processor time of everything else on the machine is
  watched; where that disturbed it, it is made again.
- Peers get what is best for them: no limit of misfires (nothing is dropped), their coroutine
  executor for coroutines, as many threads as ours (ten, APScheduler's default). Nobody logs.
- On SQLite all have the same durability: write-ahead log, `synchronous=FULL`.
- Peers keep no record of a run. Ours are written all the same, and unless said otherwise our time
  ends when the last record is written, theirs with the last call.
"""
