"""What many commands are asked alike: where to work, and how to answer."""

import inspect
from collections.abc import Callable
from functools import wraps
from inspect import Parameter
from typing import Annotated, Any, NamedTuple

import typer

from tickwork.errors import InvalidInputError

__all__ = [
    "Fires",
    "Json",
    "Limit",
    "RunId",
    "StoreUrl",
    "TaskId",
    "Tries",
    "Where",
    "Yes",
    "reaching",
]

StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="URL", envvar="TICKWORK_STORE", help="such as sqlite:///tasks.db"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="print JSON, for programs")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="don't ask")]
Tries = Annotated[bool, typer.Option("--dry-run", help="only say what would be")]
Limit = Annotated[int, typer.Option(min=1, help="how many at most")]
Fires = Annotated[int, typer.Option(min=1, max=100, help="how many fire times")]
TaskId = Annotated[str, typer.Argument(metavar="ID", help="of the task, as `tasks` lists it")]
RunId = Annotated[
    str, typer.Argument(metavar="RUN", help="id of the run, as `runs --ids` lists it")
]

_PLACES: dict[str, Any] = {
    "store": StoreUrl,
    "url": Annotated[
        str | None,
        typer.Option(
            "--url", metavar="URL", envvar="TICKWORK_URL", help="of a service, instead of a store"
        ),
    ],
    "token": Annotated[
        str | None,
        typer.Option("--token", envvar="TICKWORK_TOKEN", help="that the service knows you by"),
    ],
}


class Where(NamedTuple):
    """What to work on: a store, or a service with the token that it knows one by."""

    store: str | None = None
    url: str | None = None
    token: str | None = None


def reaching(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes `where` the options --store, --url and --token instead."""
    signature = inspect.signature(command, eval_str=True)
    parameters = [each for each in signature.parameters.values() if each.name != "where"]
    parameters += [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _PLACES.items()
    ]

    @wraps(command)
    def reached(context: typer.Context, **words: Any) -> None:
        given = {name: words.pop(name) for name in _PLACES}
        command(context=context, where=_place(context, Where(**given)), **words)

    reached.__dict__["__signature__"] = signature.replace(parameters=parameters)
    reached.__annotations__ = {each.name: each.annotation for each in parameters}
    return reached


def _place(context: typer.Context, where: Where) -> Where:
    """Return the one place that is meant: what is said here counts more than the environment."""
    if not where.store or not where.url:
        return where
    said = {name for name in ("store", "url") if _is_said(context, name)}
    if said == {"store"}:
        return Where(store=where.store)
    if said == {"url"}:
        return Where(url=where.url, token=where.token)
    raise InvalidInputError(
        "there are both a store and the URL of a service; say one of --store and --url"
    )


def _is_said(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
