"""The commands about what works on the stores, and who does things to them."""

from typing import Annotated

import typer

from tickwork.cli.application import app, group
from tickwork.cli.options import Json, Limit, Where, Yes, reaching
from tickwork.service.roles import Role

__all__: list[str] = []

Name = Annotated[str, typer.Argument(help="of the user")]


@app.command()
@reaching
def nodes(context: typer.Context, *, where: Where, as_json: Json = False) -> None:
    """List the schedulers that work on the store, also dead ones."""
    from tickwork.cli.cluster import list_nodes

    list_nodes(context, where, as_json=as_json)


@app.command()
@reaching
def stores(context: typer.Context, *, where: Where, as_json: Json = False) -> None:
    """List the stores, with their tasks by state."""
    from tickwork.cli.cluster import list_stores

    list_stores(context, where, as_json=as_json)


@app.command()
@reaching
def executors(context: typer.Context, *, where: Where, as_json: Json = False) -> None:
    """List the executors, and which nodes have them."""
    from tickwork.cli.cluster import list_executors

    list_executors(context, where, as_json=as_json)


@app.command()
@reaching
def locks(context: typer.Context, *, where: Where, as_json: Json = False) -> None:
    """List locks and leaderships, and who holds them."""
    from tickwork.cli.cluster import list_locks

    list_locks(context, where, as_json=as_json)


@app.command()
@reaching
def functions(context: typer.Context, *, where: Where, as_json: Json = False) -> None:
    """List the functions that a service lets tasks be made of."""
    from tickwork.cli.cluster import list_functions

    list_functions(context, where, as_json=as_json)


@app.command()
@reaching
def audit(
    context: typer.Context,
    *,
    where: Where,
    actor: Annotated[str | None, typer.Option(help="only what somebody did")] = None,
    action: Annotated[str | None, typer.Option(help="only such, as tasks.pause")] = None,
    target: Annotated[str | None, typer.Option(help="only what was done to it")] = None,
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """List who did what, newest first."""
    from tickwork.cli.cluster import list_audit

    list_audit(context, where, actor, action, target, limit, as_json=as_json)


users = group("users")


@users.callback()
def about_users() -> None:
    """List, add, change and remove the accounts of a service."""


@users.command("list")
@reaching
def list_users(context: typer.Context, *, where: Where, as_json: Json = False) -> None:
    """List accounts."""
    from tickwork.cli import people

    people.list_users(context, where, as_json=as_json)


@users.command("add")
@reaching
def add_user(
    context: typer.Context,
    *,
    where: Where,
    name: Name,
    role: Annotated[Role, typer.Option(help="what they may do")] = Role.VIEWER,
    as_json: Json = False,
) -> None:
    """Add an account; its password is asked for, or the first line of the input."""
    from tickwork.cli import people

    people.add_user(context, where, name, role, as_json=as_json)


@users.command("change")
@reaching
def change_user(
    context: typer.Context,
    *,
    where: Where,
    name: Name,
    role: Annotated[Role | None, typer.Option(help="what they may do")] = None,
    disabled: Annotated[
        bool | None, typer.Option("--disable/--enable", help="whether they may log in")
    ] = None,
    password: Annotated[
        bool, typer.Option("--password", help="ask for another, or read it as input")
    ] = False,
    as_json: Json = False,
) -> None:
    """Change role or password, or whether they may log in."""
    from tickwork.cli import people

    people.change_user(context, where, name, role, disabled, password=password, as_json=as_json)


@users.command("remove")
@reaching
def remove_user(
    context: typer.Context, *, where: Where, name: Name, yes: Yes = False, as_json: Json = False
) -> None:
    """Remove an account with its tokens."""
    from tickwork.cli import people

    people.remove_user(context, where, name, yes=yes, as_json=as_json)


tokens = group("tokens")


@tokens.callback()
def about_tokens() -> None:
    """List, make and revoke the tokens of programs."""


@tokens.command("list")
@reaching
def list_tokens(context: typer.Context, *, where: Where, as_json: Json = False) -> None:
    """List tokens, without themselves."""
    from tickwork.cli import people

    people.list_tokens(context, where, as_json=as_json)


@tokens.command("add")
@reaching
def add_token(
    context: typer.Context,
    *,
    where: Where,
    name: Annotated[str, typer.Argument(help="what it is for")],
    user: Annotated[str | None, typer.Option(help="whose, with --store")] = None,
    role: Annotated[Role | None, typer.Option(help="the user's, or a lesser one")] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="WHEN", help="a moment, or 90d from now")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a token, which is shown this one time."""
    from tickwork.cli import people

    people.add_token(context, where, name, user, role, expires, as_json=as_json)


@tokens.command("revoke")
@reaching
def revoke_token(
    context: typer.Context,
    *,
    where: Where,
    token_id: Annotated[str, typer.Argument(metavar="ID", help="as `tokens list` lists it")],
    as_json: Json = False,
) -> None:
    """Have a token be worth nothing."""
    from tickwork.cli import people

    people.revoke_token(context, where, token_id, as_json=as_json)
