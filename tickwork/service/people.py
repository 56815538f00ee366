"""Users, sessions and tokens, as data."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from tickwork.service.actors import Via
from tickwork.service.models import Answer, Asked, Moment, Text
from tickwork.service.roles import Action, Role

__all__ = [
    "Credentials",
    "Me",
    "NewToken",
    "NewUser",
    "PasswordChange",
    "SessionView",
    "SetUp",
    "TokenMade",
    "TokenView",
    "UserChange",
    "UserView",
]

UserName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._@-]{0,63}$")]
Password = Annotated[str, Field(min_length=1, max_length=1_000)]
NewPassword = Annotated[str, Field(min_length=12, max_length=1_000)]


class UserView(Answer):
    """An account."""

    name: str
    role: Role
    disabled: bool
    created_at: datetime


class NewUser(Asked):
    """An account to be added; passwords have 12 characters at least."""

    name: UserName
    password: NewPassword
    role: Role


class UserChange(Asked):
    """What to change of an account; what isn't said stays as it is."""

    role: Role | None = None
    password: NewPassword | None = None
    disabled: bool | None = None


class PasswordChange(Asked):
    """One's own password, and the one to have instead."""

    old: Password
    new: NewPassword


class Credentials(Asked):
    """Who wants to log in."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    password: Password


class SetUp(Asked):
    """The first admin, with the token that `tickwork serve` has printed."""

    token: Annotated[str, Field(min_length=1, max_length=200)]
    name: UserName
    password: NewPassword


class SessionView(Answer):
    """A session. `csrf` is what requests that change something bring as `X-CSRF-Token`."""

    user: str
    role: Role
    csrf: str
    expires_at: datetime


class Me(Answer):
    """Who is asking, and what they may do."""

    name: str
    role: Role
    user: str | None
    via: Via
    csrf: str
    may: list[Action]


class TokenView(Answer):
    """A token for programs, without itself."""

    id: str
    name: str
    user: str
    role: Role
    created_at: datetime
    expires_at: datetime | None


class NewToken(Asked):
    """A token to be made; its role is the maker's, or a lesser one."""

    name: Text
    role: Role | None = None
    expires_at: Moment | None = None


class TokenMade(TokenView):
    """A token that was made; `token` can be seen this one time."""

    token: str
