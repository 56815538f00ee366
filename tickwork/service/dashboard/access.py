"""Logging in and out, setting up, one's own account, users, and how pages look."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse

from tickwork.errors import ConflictError, InvalidInputError, NotFoundError
from tickwork.model.instants import from_us
from tickwork.service.actors import Via
from tickwork.service.dashboard.rendering import HEADERS, THEME_COOKIE, THEMES, Links, render
from tickwork.service.dashboard.visiting import (
    DeedDep,
    TaskId,
    Visit,
    VisitDep,
    read_form,
    read_model,
    text_of,
)
from tickwork.service.errors import AccessDeniedError, TooManyAttemptsError, UnauthenticatedError
from tickwork.service.hosting import COOKIE, Service
from tickwork.service.people import (
    Credentials,
    NewToken,
    NewUser,
    PasswordChange,
    SetUp,
    TokenMade,
    UserChange,
)
from tickwork.service.rest.access import begin_session, stranger
from tickwork.service.rest.problems import status_of
from tickwork.service.roles import Action, Role

__all__ = ["router"]

router = APIRouter()

_FormDep = Annotated[FormData, Depends(read_form)]
_OURS = re.compile(r"/(?![/\\])[^\\\s\x00-\x1f]*")
_YEAR_S = 365 * 86_400
_REFUSALS = (
    InvalidInputError,
    UnauthenticatedError,
    AccessDeniedError,
    TooManyAttemptsError,
    ConflictError,
    NotFoundError,
)


def _ours(text: str | None) -> str:
    """Return an address within these pages; whatever leads elsewhere becomes the first page."""
    return text if text is not None and _OURS.fullmatch(text) else "/"


def _base(request: Request) -> str:
    return str(request.scope.get("root_path", ""))


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


# --- in and out -----------------------------------------------------------------------------------


@router.get("/login")
def ask_login(request: Request) -> Response:
    """Ask who it is."""
    service = _service(request)
    if service.settings.auth == "none":
        return RedirectResponse(f"{_base(request)}/", 303, HEADERS)
    if not service.accounts.has_users():
        return RedirectResponse(f"{_base(request)}/setup", 303, HEADERS)
    wanted = _ours(request.query_params.get("next"))
    return render(request, "login.html", wanted=wanted, name="", fault=None)


@router.post("/login")
def log_in(request: Request, form: _FormDep) -> Response:
    """Log in, and go to the page that was wanted."""
    wanted = _ours(text_of(form, "next"))
    name, password = text_of(form, "name") or "", form.get("password")
    response = RedirectResponse(f"{_base(request)}{wanted}", 303, HEADERS)
    try:
        credentials = read_model(Credentials, {"name": name, "password": password})
        asking = stranger(_service(request), request, Via.UI)
        begin_session(asking, request, response, credentials)
    except _REFUSALS as error:
        fault = str(error) if isinstance(error, TooManyAttemptsError) else (
            "There is no such user with this password."
        )  # fmt: skip
        status = status_of(error)
        return render(
            request, "login.html", status=status, wanted=wanted, name=name, fault=fault
        )  # fmt: skip
    return response


@router.post("/logout")
def log_out(visit: DeedDep) -> Response:
    """End the session."""
    visit.operations.log_out()
    return _gone(visit)


def _gone(visit: Visit) -> Response:
    response = visit.go(visit.links("/login", said="logged-out"))
    response.delete_cookie(COOKIE, path=_base(visit.request) or "/")
    return response


@router.get("/setup")
def ask_set_up(request: Request) -> Response:
    """Ask for the first admin."""
    service = _service(request)
    if service.settings.auth == "none" or service.accounts.has_users():
        return RedirectResponse(f"{_base(request)}/", 303, HEADERS)
    token = request.query_params.get("token", "")
    return render(request, "setup.html", token=token, name="", fault=None)


@router.post("/setup")
def set_up(request: Request, form: _FormDep) -> Response:
    """Make the first admin."""
    given: dict[str, Any] = {name: text_of(form, name) or "" for name in ("token", "name")}
    given["password"] = form.get("password")
    try:
        stranger(_service(request), request, Via.UI).set_up(read_model(SetUp, given))
    except _REFUSALS as error:
        return render(request, "setup.html", status=status_of(error), token=given["token"],
                      name=given["name"], fault=str(error))  # fmt: skip
    return RedirectResponse(Links(_base(request))("/login", said="set-up"), 303, HEADERS)


@router.post("/theme")
def change_theme(request: Request, form: _FormDep) -> Response:
    """Have pages look light, dark, or as the system does; no more than a cookie changes."""
    theme = text_of(form, "theme")
    response = RedirectResponse(f"{_base(request)}{_ours(text_of(form, 'next'))}", 303, HEADERS)
    if theme in THEMES:
        response.set_cookie(
            THEME_COOKIE, theme, _YEAR_S, path=_base(request) or "/", httponly=True, samesite="lax"
        )
    return response


# --- oneself --------------------------------------------------------------------------------------


@router.get("/account")
def show_account(visit: VisitDep) -> Response:
    """Show one's own account and its tokens."""
    return _account(visit)


def _account(
    visit: Visit, status: int = 200, *, fault: str | None = None, made: TokenMade | None = None
) -> Response:
    tokens = visit.operations.list_tokens() if visit.actor.user is not None else []
    roles = [role.value for role in Role if role.rank <= visit.actor.role.rank]
    return visit.page(
        "account.html", status=status, tokens=tokens, roles=roles, fault=fault, made=made
    )  # fmt: skip


@router.post("/account/password")
def change_password(visit: DeedDep) -> Response:
    """Change one's own password."""
    given = {name: visit.form.get(name) for name in ("old", "new")}
    try:
        visit.operations.change_password(read_model(PasswordChange, given))
    except _REFUSALS as error:
        return _account(visit, status_of(error), fault=str(error))
    return visit.go(visit.links("/login", said="password"))


@router.post("/account/logout")
def log_out_everywhere(visit: DeedDep) -> Response:
    """End all sessions of one's own."""
    visit.operations.log_out_everywhere()
    return _gone(visit)


@router.post("/account/tokens")
def create_token(visit: DeedDep) -> Response:
    """Make a token, and show it this one time."""
    given: dict[str, Any] = {"name": visit.text("name"), "role": visit.text("role")}
    try:
        days = visit.text("days")
        if days is not None:
            given["expires_at"] = _in_days(visit, days)
        made = visit.operations.create_token(read_model(NewToken, given))
    except _REFUSALS as error:
        return _account(visit, status_of(error), fault=str(error))
    return _account(visit, made=made)


def _in_days(visit: Visit, days: str) -> Any:
    if not days.isascii() or not days.isdigit() or not 1 <= int(days) <= 3_650:
        raise InvalidInputError(f"days={days!r} must be a number from 1 to 3650, or nothing")
    return from_us(visit.service.reach.now_us()) + timedelta(days=int(days))


@router.post("/account/tokens/{token_id}/revoke")
def revoke_token(visit: DeedDep, token_id: TaskId) -> Response:
    """Have a token be worth nothing."""
    visit.operations.revoke_token(token_id)
    return visit.go(visit.links("/account", said="revoked"))


# --- users ----------------------------------------------------------------------------------------


@router.get("/users")
def show_users(visit: VisitDep) -> Response:
    """Show all accounts."""
    return _users(visit)


def _users(visit: Visit, status: int = 200, fault: str | None = None) -> Response:
    visit.actor.require(Action.USERS_LIST)
    return visit.page(
        "users.html",
        status=status,
        users=visit.operations.list_users(),
        roles=[role.value for role in Role],
        fault=fault,
    )


@router.post("/users")
def create_user(visit: DeedDep) -> Response:
    """Add an account."""
    given = {name: visit.text(name) or "" for name in ("name", "role")}
    try:
        new = read_model(NewUser, {**given, "password": visit.form.get("password")})
        visit.operations.create_user(new)
    except (InvalidInputError, ConflictError) as error:
        return _users(visit, status_of(error), str(error))
    return visit.go(visit.links("/users", said="user-created"))


@router.post("/users/{name}")
def change_user(visit: DeedDep, name: TaskId) -> Response:
    """Change an account: its role, whether it may log in, its password."""
    given: dict[str, Any] = {"role": visit.text("role"), "disabled": visit.text("disabled") == "1"}
    if visit.form.get("password"):
        given["password"] = visit.form.get("password")
    try:
        visit.operations.change_user(name, read_model(UserChange, given))
    except (InvalidInputError, ConflictError) as error:
        return _users(visit, status_of(error), str(error))
    return visit.go(visit.links("/users", said="user-changed"))


@router.get("/users/{name}/remove")
def ask_removal(visit: VisitDep, name: TaskId) -> Response:
    """Ask whether to remove an account."""
    visit.actor.require(Action.USERS_LIST)
    found = [user for user in visit.operations.list_users() if user.name == name]
    if not found:
        raise NotFoundError(f"there is no user {name!r}")
    return visit.page("remove_user.html", user=found[0])


@router.post("/users/{name}/remove")
def remove_user(visit: DeedDep, name: TaskId) -> Response:
    """Remove an account with its tokens."""
    visit.operations.remove_user(name)
    return visit.go(visit.links("/users", said="user-removed"))
