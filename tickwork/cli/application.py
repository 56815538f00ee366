"""The application that all commands belong to."""

from typing import Annotated, Any

import typer

from tickwork.cli.failures import ReportingGroup
from tickwork.version import __version__

__all__ = ["app", "group"]

_PARTS = ("commands", "task", "run", "live", "store", "service")
_SETTINGS = {"help_option_names": ["-h", "--help"]}


class _Commands(ReportingGroup):
    """The commands, those of one subject together."""

    def list_commands(self, ctx: Any) -> list[str]:  # Any: older typers have it from click
        """Return the names in the order in which they are explained."""
        return sorted(super().list_commands(ctx), key=self._part)

    def _part(self, name: str) -> int:
        module = getattr(self.commands[name].callback, "__module__", "")
        return _PARTS.index(module.rpartition(".")[2].removesuffix("_commands"))


app = typer.Typer(
    cls=_Commands,
    help="A persistent scheduler: look at its tasks and runs, change them, run it.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=_SETTINGS,
)


def group(name: str) -> typer.Typer:
    """Return a new group of commands under one word."""
    made = typer.Typer(no_args_is_help=True, rich_markup_mode=None, context_settings=_SETTINGS)
    app.add_typer(made, name=name)
    return made


def _print_version(wanted: bool) -> None:  # noqa: FBT001  typer passes it so
    if wanted:
        typer.echo(f"tickwork {__version__}")
        raise typer.Exit


@app.callback()
def tickwork(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print it")
    ] = False,
) -> None:
    """Look at a persistent scheduler's tasks and runs, change them, run it."""
