"""A place where jobs wait to be let on, which works across processes too."""

import asyncio
import socket
from typing import Self

__all__ = ["DEADLINE_S", "Gate", "stand_at_gate", "stand_at_gate_later"]

DEADLINE_S = 30.0
"""How long anything is waited for before the test fails."""


def stand_at_gate(port: int) -> str:
    """Return when the gate is opened; blocks the thread until then."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as line:
        line.recv(1)
    return "passed"


async def stand_at_gate_later(port: int) -> str:
    """Return when the gate is opened; lets the event loop go on until then."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        await reader.read(1)
    finally:
        writer.close()
    return "passed"


class Gate:
    """A place where jobs wait to be let on: `stand_at_gate(gate.port)`."""

    def __init__(self) -> None:
        self._door = socket.create_server(("127.0.0.1", 0))
        self._door.settimeout(DEADLINE_S)
        self._lines: list[socket.socket] = []
        self.port: int = self._door.getsockname()[1]

    def wait_for(self, count: int) -> None:
        """Wait until `count` more jobs stand here."""
        self._lines.extend(self._door.accept()[0] for _ in range(count))

    def is_left(self) -> bool:
        """Wait until the first job that came is gone, without having been let on."""
        self._lines[0].settimeout(DEADLINE_S)
        try:
            return self._lines[0].recv(1) == b""
        except ConnectionError:
            return True

    def open(self) -> None:
        """Let all jobs on, those still to come included."""
        self._door.close()
        for line in self._lines:
            line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.open()
