"""What holds for everything that is done by way of the service: what is hidden, what is allowed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tickwork.errors import InvalidInputError
from tickwork.service.roles import Role

__all__ = ["HIDDEN", "HIDDEN_BY_DEFAULT", "Rules"]

HIDDEN = "(hidden)"
"""What is shown instead of a hidden value."""

HIDDEN_BY_DEFAULT = ("*password*", "*passwd*", "*secret*", "*token*", "*api_key*", "*apikey*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Which arguments are hidden, which functions tasks may be made of, and whether to only look.

    `hide` are patterns of names, without regard to case; `allow` patterns of "module:qualname".
    """

    hide: tuple[str, ...] = HIDDEN_BY_DEFAULT
    allow: tuple[str, ...] = ()
    viewer: bool = False

    def __post_init__(self) -> None:
        for pattern in self.allow:
            module, separator, name = pattern.partition(":")
            if not separator or not name or not module.strip("*?.[]!"):
                raise InvalidInputError(
                    f"allow={pattern!r} must name a module, as in 'shop.jobs:*' or "
                    "'shop.jobs:close_day'; it would let every function there is be called"
                )

    def hides(self, name: str) -> bool:
        """Whether the value of an argument of this name is hidden."""
        return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in self.hide)

    def allows(self, reference: str, registered: Iterable[str]) -> bool:
        """Whether a task may be made of a function; `registered` are the application's own."""
        exact = reference in self.allow or reference in set(registered)
        return exact or any(fnmatchcase(reference, pattern) for pattern in self.allow)

    def is_exact(self, reference: str, registered: Iterable[str]) -> bool:
        """Whether a function is allowed by its very name and not by a pattern."""
        return reference in self.allow or reference in set(registered)

    def role(self, role: Role) -> Role:
        """Return what a role comes to where one may only look."""
        return Role.VIEWER if self.viewer else role
