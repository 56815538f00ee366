"""An event loop of our own, in a thread of its own."""

import asyncio
import logging
from collections.abc import Callable
from threading import Thread

__all__ = ["LoopThread"]

_GRACE_S = 2.0
"""How long cancelled tasks may clean up when the loop is stopped."""

logger = logging.getLogger("tickwork.executors")


class LoopThread:
    """An event loop that runs in a daemon thread until it is stopped."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._stopping = False
        self._thread = Thread(target=self._run, name="tickwork-loop", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Cancel all tasks, give them a moment to clean up, and close the loop.

        A task that refuses to end keeps the thread; it is a daemon.
        """
        self.loop.call_soon_threadsafe(self._request_stop)
        self._thread.join(_GRACE_S)

    def _request_stop(self) -> None:
        self._stopping = True
        self.loop.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._stopping:
            self._guarded(self.loop.run_forever)
        self._guarded(lambda: self.loop.run_until_complete(_wind_down()))
        self.loop.close()

    @staticmethod
    def _guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException:
            # A task or callback that a job left on the loop may raise SystemExit, which asyncio
            # lets out; it must not end the loop of all the others.
            logger.exception("event_loop_interrupted")


async def _wind_down() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    loop = asyncio.get_running_loop()
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()
