"""Modules by name, as other processes know them.

The module that is being run as a script is `__main__` here and has another name for everyone else.
It is never imported a second time under that name: its functions would exist twice.
"""

import functools
import importlib
import importlib.util
import os.path
import sys
from pathlib import PurePath
from types import ModuleType

from tickwork.errors import InvalidReferenceError

__all__ = ["MAIN_NAMES", "imported", "main_name", "script_name"]

MAIN_NAMES = frozenset({"__main__", "__mp_main__"})
"""What the script is called in its own process, and in those that multiprocessing spawns."""


def main_name() -> str | None:
    """Return the name under which others import the module that is being run, if they can."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:  # run with -m; a directory or a zip file has no other name than __main__
        name: str = spec.name
        return None if name in MAIN_NAMES else name
    return _importable(*_script(main))


def script_name(file: str) -> str | None:
    """Return the name under which others import a script, if they can.

    For a process that multiprocessing spawns: it executes the script of its parent as
    `__mp_main__`, before that is any module of its own.
    """
    return _importable(file, PurePath(file).stem)


def _importable(file: str, stem: str) -> str | None:
    return stem if stem.isidentifier() and _finds(stem, file, tuple(sys.path)) else None


# A search of the disk, and each task that is added in a script asks for it: the answer is kept for
# as long as the places to search are the same.
@functools.lru_cache(maxsize=4)
def _finds(name: str, file: str, _places: tuple[str, ...]) -> bool:
    """Tell whether importing `name` would load `file`."""
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    origin = found.origin if found else None
    return origin is not None and os.path.realpath(origin) == os.path.realpath(file)


def imported(name: str, reference: str) -> ModuleType:
    """Import a module; `reference` is for the message.

    Raises:
        InvalidReferenceError: it is missing, or raises (or even exits) while it is imported.
    """
    main = sys.modules.get("__main__")
    if main is not None and _may_be_main(main, name) and main_name() == name:
        return main
    try:
        return sys.modules.get(name) or importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the guard of imports: user code, which may even exit
        raise InvalidReferenceError(_problem(name, reference, error)) from error


def _script(main: ModuleType | None) -> tuple[str, str]:
    file = getattr(main, "__file__", None) or ""
    return file, PurePath(file).stem


def _may_be_main(main: ModuleType, name: str) -> bool:
    # Cheap, and false for nearly every module; whether it really is the same file costs a search.
    spec = getattr(main, "__spec__", None)
    return bool(spec.name == name if spec else _script(main)[1] == name)


def _problem(name: str, reference: str, error: BaseException) -> str:
    missing = getattr(error, "name", None)
    if isinstance(error, ModuleNotFoundError) and missing and f"{name}.".startswith(f"{missing}."):
        return (
            f"{reference!r}: there is no module {missing!r} here; install it, or start in the "
            "directory that has it"
        )
    return f"{reference!r}: importing {name!r} failed with {type(error).__name__}: {error}"
