"""The `tickwork` command: everything that is done to a scheduler by hand."""

__all__ = ["main"]


def main() -> None:
    """Run the command that `sys.argv` names, and exit with its code."""
    from tickwork.cli.commands import app

    app(prog_name="tickwork")
