"""What can be done to accounts and tokens, and seen of the audit log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tickwork.errors import InvalidInputError
from tickwork.service.audit import AuditEntry, Outcome
from tickwork.service.errors import AccessDeniedError, TooManyAttemptsError
from tickwork.service.models import Page
from tickwork.service.operations.base import OperationsBase
from tickwork.service.people import (
    Credentials,
    Me,
    NewToken,
    NewUser,
    PasswordChange,
    SessionView,
    SetUp,
    TokenMade,
    TokenView,
    UserChange,
    UserView,
)
from tickwork.service.roles import Action, Role

__all__ = ["AccessOperations"]


_UNKNOWN = "(unknown)"
"""What stands in the audit log for a name of nobody, which may be a password in a wrong field."""


class AccessOperations(OperationsBase):
    """Users, tokens and the audit log."""

    # --- in and out ---------------------------------------------------------------------------

    def set_up(self, wanted: SetUp) -> UserView:
        """Make the first admin, with the token that was printed for that.

        Raises:
            UnauthenticatedError: it is another token, or it was used already.
            TooManyAttemptsError: there were too many tries.
        """
        self._admit(Action.USERS_SET_UP, wanted.name, self.accounts.admit_to_set_up)
        with self._doing(Action.USERS_SET_UP, wanted.name) as doing:
            made = self.accounts.set_up(wanted.token, wanted.name, wanted.password)
            doing.actor = replace(self.actor, name=made.name, role=made.role)
            doing.after = {"role": made.role.value}
        return made

    def log_in(self, given: Credentials) -> tuple[str, SessionView]:
        """Begin a session; return its secret, and what may be known of it.

        Raises:
            UnauthenticatedError: there is no such user, or the password is another one.
            TooManyAttemptsError: there were too many wrong ones for this name or address.
        """
        name = given.name if self.accounts.has_user(given.name) else _UNKNOWN
        self._admit(
            Action.SESSIONS_LOGIN,
            name,
            lambda: self.accounts.admit(given.name, self.actor.address),
        )
        with self._doing(Action.SESSIONS_LOGIN, name) as doing:
            secret, view = self.accounts.log_in(given.name, given.password)
            doing.actor = replace(self.actor, name=view.user, role=view.role)
        return secret, view

    def _admit(self, action: Action, target: str, admit: Callable[[], None]) -> None:
        """Count a try; the audit log says once that there were too many, and not each time."""
        try:
            admit()
        except TooManyAttemptsError as error:
            if error.first:
                entry = self.audit.ask(self.actor, action, target, outcome=Outcome.THROTTLED)
                self.audit.complete(entry, Outcome.THROTTLED, error=error)
            raise

    def log_out(self) -> None:
        """End the session of who is asking, where there is one."""
        if self.actor.session is not None:
            with self._doing(Action.SESSIONS_LOGOUT, self.actor.name):
                self.accounts.log_out(self.actor.session)

    def log_out_everywhere(self) -> None:
        """End all sessions of one's own, in all browsers; tokens stay."""
        user = self._self()
        with self._doing(Action.SESSIONS_LOGOUT_ALL, user):
            self.accounts.log_out_everywhere(user)

    # --- oneself ------------------------------------------------------------------------------

    def me(self) -> Me:
        """Return who is asking, and what they may do."""
        self._look(Action.SELF_READ)
        actor = self.actor
        return Me(
            name=actor.name,
            role=actor.role,
            user=actor.user,
            via=actor.via,
            csrf=actor.csrf,
            may=[action for action in Action if actor.may(action)],
        )

    def change_password(self, change: PasswordChange) -> None:
        """Change one's own password, which ends all sessions of one's own."""
        user = self._self()
        with self._doing(Action.SELF_CHANGE, user) as doing:
            doing.after = {"password": "changed"}
            self.accounts.change_password(user, change.old, change.new)

    def _self(self) -> str:
        if self.actor.user is None:
            raise InvalidInputError(
                f"{self.actor.name} is no account; create a user and log in as them"
            )
        return self.actor.user

    def _whose(self) -> str | None:
        """Return whose tokens one sees: an admin those of all."""
        return None if self.actor.role is Role.ADMIN else self._self()

    def list_tokens(self) -> list[TokenView]:
        """Return one's own tokens; to admins, all."""
        self._look(Action.TOKENS_LIST)
        return self.accounts.tokens(self._whose())

    def create_token(self, new: NewToken) -> TokenMade:
        """Make a token for programs; it is shown this one time.

        Raises:
            AccessDeniedError: it would be allowed more than who makes it.
        """
        self._require(Action.TOKENS_CREATE, new.name)
        user, role = self._self(), new.role or self.actor.role
        with self._doing(Action.TOKENS_CREATE, new.name) as doing:
            if role.rank > self.actor.role.rank:
                raise AccessDeniedError(
                    f"a token of {self.actor.name} has the role {self.actor.role.value} at most"
                )
            secret, view = self.accounts.create_token(user, new.name, role, new.expires_at)
            doing.after = {"id": view.id, "role": role.value}
        return TokenMade(**view.model_dump(), token=secret)

    def revoke_token(self, token_id: str) -> None:
        """Have a token be worth nothing; one's own, and to admins, all."""
        self._require(Action.TOKENS_REVOKE, token_id)
        with self._doing(Action.TOKENS_REVOKE, token_id) as doing:
            view = self.accounts.revoke_token(token_id, self._whose())
            doing.after = {"name": view.name, "user": view.user}

    # --- users --------------------------------------------------------------------------------

    def list_users(self) -> list[UserView]:
        """Return all accounts, by name."""
        self._look(Action.USERS_LIST)
        return self.accounts.users()

    def create_user(self, new: NewUser) -> UserView:
        """Add an account."""
        with self._doing(Action.USERS_CREATE, new.name) as doing:
            doing.after = {"role": new.role.value}
            return self.accounts.create_user(new)

    def change_user(self, name: str, change: UserChange) -> UserView:
        """Change role, password, or whether they may log in."""
        self._require(Action.USERS_CHANGE, name)
        before = self.accounts.user(name).model_dump(mode="json", include={"role", "disabled"})
        with self._doing(Action.USERS_CHANGE, name, before) as doing:
            changed = self.accounts.change_user(name, change)
            doing.after = changed.model_dump(mode="json", include={"role", "disabled"})
            doing.after |= {"password": "changed"} if change.password else {}
            return changed

    def remove_user(self, name: str) -> None:
        """Remove an account with its tokens."""
        with self._doing(Action.USERS_REMOVE, name):
            self.accounts.remove_user(name)

    # --- the audit log ------------------------------------------------------------------------

    def list_audit(
        self,
        *,
        actor: str | None = None,
        action: Action | None = None,
        target: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[AuditEntry]:
        """Return entries of the audit log, the newest first."""
        self._look(Action.AUDIT_LIST)
        return self.audit.entries(
            actor=actor, action=action, target=target, limit=limit, cursor=cursor
        )
