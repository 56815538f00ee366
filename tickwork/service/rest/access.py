"""`/session`, `/setup`, `/me`, `/tokens`, `/users` and `/audit`."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from tickwork.errors import InvalidInputError
from tickwork.service.actors import Via, nobody
from tickwork.service.audit import AuditEntry
from tickwork.service.hosting import COOKIE, Service, address_of, service_of
from tickwork.service.models import Page, Text
from tickwork.service.operations import Operations
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
from tickwork.service.rest.asking import Name, OperationsDep, PageQuery, ServiceDep
from tickwork.service.rest.problems import problems
from tickwork.service.roles import Action

__all__ = ["router"]

router = APIRouter(tags=["access"])


class AuditQuery(PageQuery):
    """Which entries to list."""

    actor: Text | None = None
    action: Action | None = None
    target: Text | None = None


@router.post("/session", status_code=201, responses=problems(429))
def log_in(
    request: Request, response: Response, service: ServiceDep, credentials: Credentials
) -> SessionView:
    """Log in: begins a session, whose secret comes as a cookie."""
    return begin_session(stranger(service, request, Via.REST), request, response, credentials)


def stranger(service: Service, request: Request, via: Via) -> Operations:
    """Return what somebody can do of whom nobody knows yet who it is."""
    return service.operations(nobody(via, address_of(request)))


def begin_session(
    operations: Operations, request: Request, response: Response, credentials: Credentials
) -> SessionView:
    """Begin a session and send its cookie along; pages log in by it, too.

    Raises:
        UnauthenticatedError: there is no such user with this password.
    """
    service = service_of(request)
    if service.settings.auth == "none":
        raise InvalidInputError("nobody needs to log in here: auth is none")
    secret, view = operations.log_in(credentials)
    response.set_cookie(
        COOKIE,
        secret,
        max_age=round(service.settings.session_ttl),
        path=request.scope.get("root_path", "") or "/",
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return view


@router.delete("/session", status_code=204, responses=problems())
def log_out(request: Request, response: Response, operations: OperationsDep) -> None:
    """Log out: ends the session."""
    operations.log_out()
    response.delete_cookie(COOKIE, path=request.scope.get("root_path", "") or "/")


@router.delete("/me/sessions", status_code=204, responses=problems(404, 409))
def log_out_everywhere(operations: OperationsDep) -> None:
    """Log out everywhere: ends all sessions of one's own; tokens stay."""
    operations.log_out_everywhere()


@router.post("/setup", status_code=201, responses=problems(409, 429))
def set_up(request: Request, service: ServiceDep, wanted: SetUp) -> UserView:
    """Make the first admin, with the token that `tickwork serve` has printed."""
    return stranger(service, request, Via.REST).set_up(wanted)


@router.get("/me", responses=problems())
def get_me(operations: OperationsDep) -> Me:
    """Say who is asking, and what they may do."""
    return operations.me()


@router.put("/me/password", status_code=204, responses=problems(404, 409, 429))
def change_password(operations: OperationsDep, change: PasswordChange) -> None:
    """Change one's own password, which ends all sessions of one's own."""
    operations.change_password(change)


@router.get("/tokens", responses=problems())
def list_tokens(operations: OperationsDep) -> list[TokenView]:
    """List one's own tokens; to admins, all."""
    return operations.list_tokens()


@router.post("/tokens", status_code=201, responses=problems())
def create_token(operations: OperationsDep, new: NewToken) -> TokenMade:
    """Make a token for programs; it is shown this one time."""
    return operations.create_token(new)


@router.delete("/tokens/{name}", status_code=204, responses=problems(404))
def revoke_token(operations: OperationsDep, name: Name) -> None:
    """Have a token be worth nothing, by its id."""
    operations.revoke_token(name)


@router.get("/users", responses=problems())
def list_users(operations: OperationsDep) -> list[UserView]:
    """List accounts."""
    return operations.list_users()


@router.post("/users", status_code=201, responses=problems(409))
def create_user(operations: OperationsDep, new: NewUser) -> UserView:
    """Add an account."""
    return operations.create_user(new)


@router.patch("/users/{name}", responses=problems(404, 409))
def change_user(operations: OperationsDep, name: Name, change: UserChange) -> UserView:
    """Change role, password, or whether they may log in."""
    return operations.change_user(name, change)


@router.delete("/users/{name}", status_code=204, responses=problems(404, 409))
def remove_user(operations: OperationsDep, name: Name) -> None:
    """Remove an account with its tokens."""
    operations.remove_user(name)


@router.get("/audit", responses=problems())
def list_audit(
    operations: OperationsDep, query: Annotated[AuditQuery, Query()]
) -> Page[AuditEntry]:
    """List who did what, from where, and what became of it; the newest first."""
    return operations.list_audit(
        actor=query.actor,
        action=query.action,
        target=query.target,
        limit=query.limit,
        cursor=query.cursor,
    )
