"""Ctrl-C in commands that look again and again until it is pressed."""

import signal
import threading
from typing import Any, Self

__all__ = ["Interrupts"]


class Interrupts:
    """Ctrl-C, for the time of a block in the main thread: it ends what goes on, or the next wait.

    It is an exception like any other, and Python drops what is raised within a finalizer or the
    callback of a weak reference, which may run at any moment. So it is remembered, too.
    """

    def __init__(self) -> None:
        self.pressed = False
        self._before: Any = None

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _press(self, *_: object) -> None:
        self.pressed = True
        raise KeyboardInterrupt

    def wait(self, seconds: float) -> None:
        """Wait; raises KeyboardInterrupt where Ctrl-C was pressed, now or before."""
        if not self.pressed:
            threading.Event().wait(seconds)
        if self.pressed:
            raise KeyboardInterrupt
