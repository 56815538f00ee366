"""Users, their sessions and their tokens, kept in the store beside the tasks.

What opens a door is never kept as it is: passwords as argon2 hashes, tokens and the keys of
sessions as SHA-256. A session or token is worth what its user is worth at that moment: whoever is
disabled, or gets a lesser role, loses it everywhere at once; a new password ends all sessions.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from datetime import datetime
from secrets import token_hex, token_urlsafe
from typing import Any, NamedTuple

from tickwork.errors import ConflictError, InvalidInputError, NotFoundError
from tickwork.interfaces import Keeping
from tickwork.model.instants import SECOND, from_us, to_us
from tickwork.model.keeping import DocumentQuery
from tickwork.service.documents import Kept, Shelf
from tickwork.service.errors import UnauthenticatedError
from tickwork.service.passwords import check_password, digest, hashed, is_password_of
from tickwork.service.people import NewUser, SessionView, TokenView, UserChange, UserView
from tickwork.service.roles import Role
from tickwork.service.throttle import Throttle

__all__ = ["Accounts", "Login", "SessionLimits"]

_DAY_US = 86_400 * SECOND
_TOUCHED_EVERY = 10
_TOKEN = "tw_"  # noqa: S105  how tokens begin, so that people and scanners know one


class SessionLimits(NamedTuple):
    """How long sessions last, and how many wrong passwords there may be; durations in seconds."""

    ttl_s: float = 43_200.0
    idle_s: float = 3_600.0
    attempts: int = 5
    window_s: float = 300.0


class Login(NamedTuple):
    """Who came: an account, with the role that it has by this way."""

    user: str
    role: Role
    session: str | None = None
    csrf: str = ""


class Accounts:
    """The accounts of a store."""

    def __init__(
        self,
        keeping: Keeping,
        now_us: Callable[[], int],
        limits: SessionLimits = SessionLimits(),  # noqa: B008  an immutable value
    ) -> None:
        self._now_us = now_us
        self._limits = limits
        self._keeping = keeping
        self._users = Shelf(keeping, "user")
        self._tokens = Shelf(keeping, "token")
        self._sessions = Shelf(keeping, "session")
        self._set_up = Shelf(keeping, "set-up")
        self._throttle = Throttle(
            Shelf(keeping, "attempts"), now_us, limits.attempts, limits.window_s
        )

    # --- the first admin ----------------------------------------------------------------------

    def has_users(self) -> bool:
        """Whether anybody could log in."""
        return bool(self._keeping.documents(DocumentQuery("user", limit=1)))

    def new_set_up_token(self) -> str:
        """Return the token with which the first admin can be made, once, within a day."""
        token = token_urlsafe(24)
        expires_us = self._now_us() + _DAY_US
        self._set_up.put("token", {"digest": digest(token)}, expires_us=expires_us)
        return token

    def admit_to_set_up(self) -> None:
        """Count a try to make the first admin.

        Raises:
            TooManyAttemptsError: there were too many.
        """
        self._throttle.count("set-up")

    def set_up(self, token: str, name: str, password: str) -> UserView:
        """Make the first admin, for whom `admit_to_set_up` lets in.

        Raises:
            UnauthenticatedError: it is another token, or it was used already.
        """
        kept = self._set_up.get("token")
        if kept is None or not hmac.compare_digest(kept.data["digest"], digest(token)):
            raise UnauthenticatedError(
                "this set-up token isn't valid (any more); `tickwork serve` prints one when it "
                "starts, as long as there are no users"
            )
        new = NewUser(name=name, password=password, role=Role.ADMIN)
        check_password(new.password)
        # Of several who come with the token, one has it.
        if self.has_users() or not self._set_up.drop("token", kept.revision):
            raise UnauthenticatedError("this set-up token was used already; log in")
        return self.create_user(new)

    # --- users --------------------------------------------------------------------------------

    def users(self) -> list[UserView]:
        """Return all accounts, by name."""
        return [_user_view(kept) for kept in self._users.all()]

    def user(self, name: str) -> UserView:
        """Return an account.

        Raises:
            NotFoundError: there is none of this name.
        """
        return _user_view(self._user(name))

    def _user(self, name: str) -> Kept:
        kept = self._users.get(name)
        if kept is None:
            raise NotFoundError(f"there is no user {name!r}")
        return kept

    def create_user(self, new: NewUser) -> UserView:
        """Add an account.

        Raises:
            ConflictError: there is one of this name.
        """
        check_password(new.password)
        now_us = self._now_us()
        data = {
            "role": new.role.value,
            "disabled": False,
            "hash": hashed(new.password),
            "stamp": token_urlsafe(8),
            "created_us": now_us,
        }
        if not self._users.put(new.name, data, expected=0):
            raise ConflictError(f"there is a user {new.name!r} already")
        return self.user(new.name)

    def change_user(self, name: str, change: UserChange) -> UserView:
        """Change role, password, or whether they may log in.

        Raises:
            ConflictError: nobody would be left who may do everything.
        """
        kept = self._user(name)
        data = dict(kept.data)
        if change.role is not None:
            data["role"] = change.role.value
        if change.disabled is not None:
            data["disabled"] = change.disabled
        if change.password is not None:
            check_password(change.password)
            data |= {"hash": hashed(change.password), "stamp": token_urlsafe(8)}
        if data["role"] != Role.ADMIN or data["disabled"]:
            self._refuse_last_admin(name)
        if not self._users.put(name, data, expected=kept.revision):
            raise _changed_meanwhile(name)
        return self.user(name)

    def change_password(self, name: str, old: str, new: str) -> None:
        """Change one's own password, which ends all sessions.

        Raises:
            UnauthenticatedError: the old one is wrong.
            TooManyAttemptsError: there were too many wrong ones.
        """
        self._throttle.count(f"name:{name}")
        if not is_password_of(self._user(name).data["hash"], old):
            raise UnauthenticatedError("the present password is another one")
        self._throttle.forgive(f"name:{name}")
        self.change_user(name, UserChange(password=new))

    def remove_user(self, name: str) -> None:
        """Remove an account, with its tokens; its entries in the audit log stay.

        Raises:
            ConflictError: nobody would be left who may do everything.
        """
        kept = self._user(name)
        self._refuse_last_admin(name)
        self._users.drop(name, kept.revision)
        for token in self._tokens.all():
            if token.data["user"] == name:
                self._tokens.drop(token.key)

    def _refuse_last_admin(self, name: str) -> None:
        admins = [
            each.name for each in self.users() if each.role is Role.ADMIN and not each.disabled
        ]
        if admins == [name]:
            raise ConflictError(f"{name} is the only admin; make another one first")

    # --- sessions -----------------------------------------------------------------------------

    def has_user(self, name: str) -> bool:
        """Whether there is an account of this name."""
        return self._users.get(name) is not None

    def admit(self, name: str, address: str) -> None:
        """Count a try to log in.

        Raises:
            TooManyAttemptsError: there were too many wrong ones for this name or address.
        """
        self._throttle.count(f"address:{address}", times=10)
        self._throttle.count(f"name:{name}")

    def log_in(self, name: str, password: str) -> tuple[str, SessionView]:
        """Begin a session, for whom `admit` lets in; return its secret, and what may be known.

        Raises:
            UnauthenticatedError: there is no such user, or the password is another one.
        """
        kept = self._users.get(name)
        right = is_password_of(None if kept is None else kept.data["hash"], password)
        if kept is None or not right or kept.data["disabled"]:
            raise UnauthenticatedError("there is no such user with this password")
        self._throttle.forgive(f"name:{name}")
        return self._begin(name, kept.data)

    def _begin(self, name: str, user: dict[str, Any]) -> tuple[str, SessionView]:
        secret, csrf, now_us = token_urlsafe(32), token_urlsafe(24), self._now_us()
        data = {"user": name, "stamp": user["stamp"], "csrf": csrf, "created_us": now_us}
        expires_us = self._expiry(now_us, now_us)
        self._sessions.put(digest(secret), data, expires_us=expires_us)
        view = SessionView(
            user=name,
            role=Role(user["role"]),
            csrf=csrf,
            expires_at=from_us(now_us + round(self._limits.ttl_s * SECOND)),
        )
        return secret, view

    def _expiry(self, created_us: int, now_us: int) -> int:
        idle_us, ttl_us = round(self._limits.idle_s * SECOND), round(self._limits.ttl_s * SECOND)
        return min(now_us + idle_us, created_us + ttl_us)

    def session(self, secret: str) -> Login | None:
        """Return who has a session; None where it is none, or over."""
        key = digest(secret)
        kept = self._sessions.get(key)
        if kept is None:
            return None
        user = self._users.get(kept.data["user"])
        if user is None or user.data["disabled"] or user.data["stamp"] != kept.data["stamp"]:
            return None
        self._touch(kept)
        return Login(user.key, Role(user.data["role"]), key, kept.data["csrf"])

    def _touch(self, kept: Kept) -> None:
        """Have a session that is used last longer; not written each time."""
        now_us = self._now_us()
        expires_us = self._expiry(kept.data["created_us"], now_us)
        worth = round(self._limits.idle_s * SECOND) // _TOUCHED_EVERY
        if expires_us - (kept.expires_us or 0) >= worth:
            self._sessions.put(kept.key, kept.data, expected=kept.revision, expires_us=expires_us)

    def log_out(self, session: str) -> None:
        """End a session, by its key."""
        self._sessions.drop(session)

    def log_out_everywhere(self, name: str) -> None:
        """End all sessions of a user; tokens stay.

        Raises:
            ConflictError: the account was changed at this very moment.
        """
        kept = self._user(name)
        data = kept.data | {"stamp": token_urlsafe(8)}
        if not self._users.put(name, data, expected=kept.revision):
            raise _changed_meanwhile(name)

    # --- tokens -------------------------------------------------------------------------------

    def create_token(
        self, user: str, name: str, role: Role, expires_at: datetime | None
    ) -> tuple[str, TokenView]:
        """Make a token for programs; return it, which is the only time that it can be seen."""
        now_us = self._now_us()
        expires_us = None if expires_at is None else to_us(expires_at)
        if expires_us is not None and expires_us <= now_us:
            raise InvalidInputError("`expires_at` is not after now")
        secret = _TOKEN + token_urlsafe(32)
        data = {
            # Not urlsafe, which may begin with a dash: on the command line that is an option.
            "id": token_hex(8),
            "user": user,
            "name": name,
            "role": role.value,
            "created_us": now_us,
        }
        self._tokens.put(digest(secret), data, expires_us=expires_us)
        return secret, _token_view(Kept(digest(secret), data, 1, expires_us))

    def tokens(self, user: str | None = None) -> list[TokenView]:
        """Return the tokens of a user, or all, the oldest first."""
        found = [kept for kept in self._tokens.all() if user in {None, kept.data["user"]}]
        found.sort(key=lambda kept: (kept.data["created_us"], kept.data["id"]))
        return [_token_view(kept) for kept in found]

    def revoke_token(self, token_id: str, user: str | None = None) -> TokenView:
        """Have a token be worth nothing, by its id; only of a user, where one is named.

        Raises:
            NotFoundError: there is no such token.
        """
        for kept in self._tokens.all():
            if kept.data["id"] == token_id and user in {None, kept.data["user"]}:
                self._tokens.drop(kept.key)
                return _token_view(kept)
        raise NotFoundError(f"there is no token {token_id!r}")

    def token(self, secret: str) -> Login | None:
        """Return whose token it is; None where it is none, or worth nothing any more."""
        if not secret.startswith(_TOKEN):
            return None
        kept = self._tokens.get(digest(secret))
        user = None if kept is None else self._users.get(kept.data["user"])
        if kept is None or user is None or user.data["disabled"]:
            return None
        role = min(Role(kept.data["role"]), Role(user.data["role"]), key=lambda each: each.rank)
        return Login(user.key, role)


def _changed_meanwhile(name: str) -> ConflictError:
    return ConflictError(f"user {name!r} was changed by somebody else meanwhile; try again")


def _user_view(kept: Kept) -> UserView:
    return UserView(
        name=kept.key,
        role=Role(kept.data["role"]),
        disabled=kept.data["disabled"],
        created_at=from_us(kept.data["created_us"]),
    )


def _token_view(kept: Kept) -> TokenView:
    return TokenView(
        id=kept.data["id"],
        name=kept.data["name"],
        user=kept.data["user"],
        role=Role(kept.data["role"]),
        created_at=from_us(kept.data["created_us"]),
        expires_at=None if kept.expires_us is None else from_us(kept.expires_us),
    )
