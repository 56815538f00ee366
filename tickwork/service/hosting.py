"""A scheduler as a service: what all requests share, and who is behind each of them."""

from __future__ import annotations

import hmac
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

from tickwork.errors import InvalidInputError
from tickwork.service.accounts import Accounts, Login, SessionLimits
from tickwork.service.actors import Actor, Via
from tickwork.service.errors import AccessDeniedError, UnauthenticatedError
from tickwork.service.events import EventHub
from tickwork.service.operations import Operations
from tickwork.service.reaching import Reach
from tickwork.service.roles import Role

if TYPE_CHECKING:
    from tickwork.integrations.prometheus import Metrics
    from tickwork.scheduler.scheduler import Scheduler
    from tickwork.service.settings import ServiceSettings

__all__ = ["COOKIE", "CSRF_HEADER", "Service", "address_of", "check_csrf", "service_of"]

COOKIE = "tickwork_session"
CSRF_HEADER = "X-CSRF-Token"

_SAFE = {"GET", "HEAD", "OPTIONS"}


class Service:
    """A scheduler, and how it is shown."""

    def __init__(self, scheduler: Scheduler, settings: ServiceSettings) -> None:
        self.scheduler = scheduler
        self.settings = settings
        self.rules = settings.rules()
        self.reach = Reach(scheduler)
        self.events = EventHub(scheduler)
        self.metrics = _metrics_of(scheduler) if settings.metrics else None
        if settings.auth == "password" and not self.reach.remembers:
            raise InvalidInputError(
                "auth=password needs a store that outlives the process and keeps documents, for "
                "users and sessions; use one such as sqlite:///tickwork.db, or auth=none"
            )

    @property
    def fires(self) -> bool:
        """Whether tasks are executed in this process."""
        return self.settings.fire and not self.settings.viewer

    @cached_property
    def accounts(self) -> Accounts:
        """The accounts of the store."""
        settings = self.settings
        limits = SessionLimits(
            settings.session_ttl,
            settings.session_idle,
            settings.login_attempts,
            settings.login_window,
        )
        return Accounts(self.reach.keeping, self.reach.now_us, limits)

    def operations(self, actor: Actor) -> Operations:
        """Return what an actor can do."""
        return Operations(self.scheduler, actor, self.rules, self.accounts)

    def actor(self, connection: HTTPConnection, via: Via) -> Actor:
        """Return who is behind a request.

        Raises:
            UnauthenticatedError: nobody knows.
        """
        address = address_of(connection)
        if self.settings.auth == "none":
            role = self.rules.role(Role.ADMIN)
            return Actor(name="anybody", role=role, via=via, address=address)
        login = self._login(connection)
        if login is None:
            raise UnauthenticatedError(
                "log in, or send a token as `Authorization: Bearer ...`; this session or token "
                "isn't valid (any more)" if self._tried(connection) else
                "log in, or send a token as `Authorization: Bearer ...`"
            )  # fmt: skip
        return Actor(
            name=login.user,
            role=self.rules.role(login.role),
            via=via,
            address=address,
            user=login.user,
            session=login.session,
            csrf=login.csrf,
        )

    def _login(self, connection: HTTPConnection) -> Login | None:
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme:
            # Who brings a token means it; a cookie doesn't help a wrong one.
            return self.accounts.token(token.strip()) if scheme.lower() == "bearer" else None
        cookie = connection.cookies.get(COOKIE)
        return self.accounts.session(cookie) if cookie else None

    @staticmethod
    def _tried(connection: HTTPConnection) -> bool:
        return "authorization" in connection.headers or COOKIE in connection.cookies


def check_csrf(actor: Actor, method: str, given: str | None) -> None:
    """Refuse a change that a page elsewhere may have made a browser ask for.

    A cookie comes along with whatever a browser sends; the session's own word doesn't.

    Raises:
        AccessDeniedError: the word is missing, or another one.
    """
    if method in _SAFE or actor.session is None:
        return
    if not hmac.compare_digest(actor.csrf.encode(), (given or "").encode()):
        raise AccessDeniedError(
            f"{CSRF_HEADER} is missing or of another session; it is `csrf` of /api/v1/me"
        )


def _metrics_of(scheduler: Scheduler) -> Metrics | None:
    """Return what measures a scheduler; None where what Prometheus is told by isn't installed."""
    if find_spec("prometheus_client") is None:
        return None
    from prometheus_client import CollectorRegistry

    from tickwork.integrations.prometheus import instrument

    return instrument(scheduler, CollectorRegistry())


def address_of(connection: HTTPConnection) -> str:
    """Return from where a request comes, empty where nobody can say."""
    return connection.client.host if connection.client is not None else ""


def service_of(connection: HTTPConnection) -> Service:
    """Return the service of the application that a request is for."""
    found: Service = connection.app.state.service
    return found
