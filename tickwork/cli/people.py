"""`tickwork users` and `tokens`."""

import sys

import typer

from tickwork.cli.desk import asked, confirm, desk, said
from tickwork.cli.moments import moment_of, moment_text
from tickwork.cli.options import Where
from tickwork.cli.terminal import Column, Terminal, terminal_of
from tickwork.errors import InvalidInputError, NotFoundError
from tickwork.service.people import NewToken, NewUser, UserChange, UserView
from tickwork.service.roles import Role

__all__ = [
    "add_token",
    "add_user",
    "change_user",
    "list_tokens",
    "list_users",
    "remove_user",
    "revoke_token",
]

_USERS = (Column("NAME"), Column("ROLE"), Column("STATE"), Column("CREATED", rank=1))
_TOKENS = (
    Column("ID"),
    Column("NAME", least=12),
    Column("USER"),
    Column("ROLE"),
    Column("CREATED", rank=1),
    Column("EXPIRES"),
)


def list_users(context: typer.Context, where: Where, *, as_json: bool) -> None:
    """Print accounts."""
    terminal = terminal_of(context)
    with desk(where, terminal.clock) as it:
        users = it.ask.list_users()
    if as_json:
        terminal.models(users)
    elif not users:
        terminal.say("No users yet; tickwork users add NAME --role admin makes the first one.")
    else:
        terminal.table(_USERS, [_user_row(terminal, user) for user in users])


def add_user(context: typer.Context, where: Where, name: str, role: Role, *, as_json: bool) -> None:
    """Add an account, whose password is asked for."""
    terminal = terminal_of(context)
    password = _password()
    with desk(where, terminal.clock) as it:
        _needs_hashes()
        user = it.ask.create_user(asked(NewUser, name=name, password=password, role=role))
    _tell(terminal, user, "is added", as_json=as_json)


def change_user(  # noqa: PLR0917  where, who and how
    context: typer.Context,
    where: Where,
    name: str,
    role: Role | None,
    disabled: bool | None,  # noqa: FBT001  as it was said, or not
    *,
    password: bool,
    as_json: bool,
) -> None:
    """Change an account."""
    terminal = terminal_of(context)
    given = said(role=role, disabled=disabled, password=_password() if password else None)
    if not given:
        raise InvalidInputError("what is to change? Say --role, --disable, --enable or --password")
    with desk(where, terminal.clock) as it:
        user = it.ask.change_user(name, asked(UserChange, **given))
    _tell(terminal, user, "is changed", as_json=as_json)


def remove_user(
    context: typer.Context, where: Where, name: str, *, yes: bool, as_json: bool
) -> None:
    """Remove an account with its tokens."""
    terminal = terminal_of(context)
    with desk(where, terminal.clock) as it:
        confirm(f"Remove the user {name} with their tokens?", yes=yes)
        it.ask.remove_user(name)
    if as_json:
        terminal.json({"removed": name})
    else:
        terminal.say(f"{name} is removed; what they did stays in the audit log.")


def list_tokens(context: typer.Context, where: Where, *, as_json: bool) -> None:
    """Print tokens, without themselves."""
    terminal = terminal_of(context)
    with desk(where, terminal.clock) as it:
        tokens = it.ask.list_tokens()
    if as_json:
        terminal.models(tokens)
        return
    rows = [
        [
            each.id,
            each.name,
            each.user,
            each.role.value,
            moment_text(each.created_at, terminal.zone),
            terminal.moment(each.expires_at) if each.expires_at else "never",
        ]
        for each in tokens
    ]
    terminal.table(_TOKENS, rows) if rows else terminal.say("No tokens.")


def add_token(  # noqa: PLR0917  where, what and how
    context: typer.Context,
    where: Where,
    name: str,
    user: str | None,
    role: Role | None,
    expires: str | None,
    *,
    as_json: bool,
) -> None:
    """Make a token, and print it this one time."""
    terminal = terminal_of(context)
    if user is None and where.url is None:
        raise InvalidInputError("whose token? Say --user NAME, as `tickwork users list` lists them")
    if user is not None and where.url is not None:
        raise InvalidInputError("a service makes tokens for whoever asks it; leave --user out")
    end = None if expires is None else moment_of(expires, terminal.now, terminal.zone, ahead=True)
    new = asked(NewToken, **said(name=name, role=role, expires_at=end))
    with desk(where, terminal.clock, user=user) as it:
        if user is not None:
            owner = next((each for each in it.ask.list_users() if each.name == user), None)
            if owner is None:
                raise NotFoundError(f"there is no user {user!r}")
            new = new.model_copy(update={"role": role or owner.role})
        made = it.ask.create_token(new)
    if as_json:
        terminal.model(made)
        return
    terminal.say(f"{made.token}", f"The token {made.name} of {made.user}, as {made.role.value}.")
    terminal.say("It is shown this one time.")


def revoke_token(context: typer.Context, where: Where, token_id: str, *, as_json: bool) -> None:
    """Have a token be worth nothing."""
    terminal = terminal_of(context)
    with desk(where, terminal.clock) as it:
        it.ask.revoke_token(token_id)
    if as_json:
        terminal.json({"revoked": token_id})
    else:
        terminal.say(f"The token {token_id} is worth nothing any more.")


def _password() -> str:
    """Return a password that is asked for, or the first line of a file given as input."""
    if sys.stdin.isatty():
        text: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return text
    text = sys.stdin.readline().rstrip("\n")
    if not text:
        raise InvalidInputError("there is no terminal to ask for a password; give it as input")
    return text


def _needs_hashes() -> None:
    try:
        import argon2  # noqa: F401  only to say what is missing
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            "passwords need the package 'argon2-cffi': pip install 'tickwork[service]'"
        ) from error


def _user_row(terminal: Terminal, user: UserView) -> list[str]:
    state = "disabled" if user.disabled else "enabled"
    return [user.name, user.role.value, state, moment_text(user.created_at, terminal.zone)]


def _tell(terminal: Terminal, user: UserView, what: str, *, as_json: bool) -> None:
    if as_json:
        terminal.model(user)
        return
    state = ", and disabled" if user.disabled else ""
    terminal.say(f"{user.name} {what}, with the role {user.role.value}{state}.")
