"""`python -m tickwork`: the command line."""

from tickwork.cli import main

__all__: list[str] = []

# Child processes of a process pool import this module, too, under another name.
if __name__ == "__main__":
    main()
