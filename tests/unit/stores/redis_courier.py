"""A client on the way of which something happens to a script."""

from typing import Any

import redis

from tickwork.stores.redis.layout import KEYS

__all__ = ["Courier"]


class Courier:
    """A client whose next script has a fate, when it is told one.

    It is `lost`: its answer, though it was done; or sent `twice` by the library, the first answer
    being lost; or `late`: done no sooner than it is delivered; or `overtaken`: done as it should
    be, and once more when what is late is delivered.
    """

    def __init__(self, client: Any, *, any_script: bool = False) -> None:
        self._client = client
        self._any = any_script
        self._late: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self.fate = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        if not self.fate or not self._is_meant(arguments):
            return self._client.execute_command(*arguments, **options)
        fate, self.fate = self.fate, ""
        if fate in {"late", "overtaken"}:
            self._late.append((arguments, options))
        if fate == "late":
            raise redis.TimeoutError("Timeout reading from socket")
        answer = self._client.execute_command(*arguments, **options)
        if fate == "lost":
            raise redis.ConnectionError("Connection reset by peer")
        if fate == "twice":
            return self._client.execute_command(*arguments, **options)
        return answer

    def _is_meant(self, arguments: tuple[Any, ...]) -> bool:
        """Whether it is a script that must not be run twice: those have a key more than others."""
        return arguments[0] == "EVALSHA" and (self._any or arguments[2] > len(KEYS))

    def deliver(self) -> None:
        """Send what is late."""
        for arguments, options in self._late:
            self._client.execute_command(*arguments, **options)
