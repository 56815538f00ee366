"""Executors: where jobs run, each an implementation of `tickwork.interfaces.Executor`.

An executor decides nothing: it has places, runs what is handed over and says how it ended. All of
them share one account of places and jobs (`ledger`), one guard around user code (`guard`) and one
way to turn an exception into data (`outcomes`).
"""

from tickwork.executors.event_loop import AsyncIOExecutor
from tickwork.executors.inline import InlineExecutor
from tickwork.executors.processes import ProcessPoolExecutor
from tickwork.executors.threads import ThreadPoolExecutor

__all__ = ["AsyncIOExecutor", "InlineExecutor", "ProcessPoolExecutor", "ThreadPoolExecutor"]
