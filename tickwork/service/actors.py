"""Who does something, and by what way."""

from dataclasses import dataclass
from enum import StrEnum

from tickwork.errors import TickworkError
from tickwork.service.errors import AccessDeniedError
from tickwork.service.roles import LEAST_ROLE, WAY_IN, Action, Role

__all__ = ["Actor", "Via", "nobody"]


class Via(StrEnum):
    """The way by which something was asked for."""

    UI = "ui"
    REST = "rest"
    CLI = "cli"
    CODE = "code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who does something. `session` is the key of their session, where they have one.

    `csrf` is what forms of theirs must bring along; empty where they came without a cookie.
    `user` is the account behind them, None where nobody needs one. Who isn't `known` yet may try
    the way in and nothing else.
    """

    name: str
    role: Role
    via: Via = Via.CODE
    address: str = ""
    user: str | None = None
    session: str | None = None
    csrf: str = ""
    known: bool = True

    def may(self, action: Action) -> bool:
        """Whether this actor may do something."""
        return self.role.may(action) if self.known else action in WAY_IN

    def require(self, action: Action) -> None:
        """Refuse what this actor may not do.

        Raises:
            AccessDeniedError: the role isn't enough.
        """
        if not self.may(action):
            raise self.refusal(action)

    def refusal(self, action: Action) -> TickworkError:
        """Return why this actor may not do something."""
        return AccessDeniedError(
            f"{action.value} takes the role {LEAST_ROLE[action].value}; {self.name} has the role "
            f"{self.role.value}: ask an admin"
        )


def nobody(via: Via, address: str) -> Actor:
    """Return who has come and isn't known yet."""
    return Actor(name="nobody", role=Role.VIEWER, via=via, address=address, known=False)
