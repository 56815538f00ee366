"""The less common settings of the service, as options of `serve`."""

from typing import Annotated

import typer

__all__ = [
    "Allow",
    "AllowedHosts",
    "Hide",
    "LoginAttempts",
    "LoginWindow",
    "MaxBody",
    "Metrics",
    "SessionIdle",
    "SessionTtl",
]

_COMMAS = "NAME,..."

AllowedHosts = Annotated[
    str | None, typer.Option(metavar=_COMMAS, help="names by which it may be asked for")
]
SessionTtl = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="how long a session lasts at most; 43200")
]
SessionIdle = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="how long a session lasts without use; 3600"),
]
LoginAttempts = Annotated[
    int | None, typer.Option(help="wrong passwords for a name, before it waits; 5")
]
LoginWindow = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="for how long wrong passwords count; 300")
]
MaxBody = Annotated[
    int | None, typer.Option(metavar="BYTES", help="that a request may have; 1048576")
]
Hide = Annotated[
    str | None, typer.Option(metavar=_COMMAS, help="names of arguments that are never shown")
]
Allow = Annotated[
    str | None,
    typer.Option(metavar=_COMMAS, help="functions that tasks may be made of: shop.jobs:*"),
]
Metrics = Annotated[
    bool | None, typer.Option("--metrics/--no-metrics", help="whether /metrics is answered")
]
