"""Functions as text: `module:qualname`, and back.

A persistent store keeps the name of a function, never its code. A name is good if another process
finds the same function by it, so a function is refused as soon as resolving its name gives anything
else. The script that is being run is known to others under the name that they can import, never as
`__main__`.
"""

import difflib
import functools
import inspect
import keyword
from collections.abc import Callable
from types import BuiltinFunctionType, MethodType, ModuleType
from typing import Any

from tickwork.errors import InvalidReferenceError
from tickwork.model.callables import (
    is_coroutine_callable,
    is_generator_callable,
    name_of,
    unwrapped_partial,
)
from tickwork.model.modules import MAIN_NAMES, imported, main_name, script_name
from tickwork.model.signatures import check_signature

__all__ = [
    "check_reference",
    "check_signature",
    "is_coroutine_callable",
    "is_generator_callable",
    "name_of",
    "reference_of",
    "resolve",
    "unwrapped_partial",
]

_ELSEWHERE = "or keep the task in a memory store"
_UNNAMED = {
    "<lambda>": "it is a lambda; write it as a function at the top of a module",
    "<locals>": "it is defined inside a function; move it to the top of its module",
}


def reference_of(function: Callable[..., Any], *, verify: bool = True) -> str:
    """Return the text by which other processes find a function: `module:qualname`.

    Functions, classes, and static, class and plain methods have one. `verify=False` leaves out
    whether the text leads back to the function, for a decorator, where the name isn't bound yet.

    Raises:
        InvalidReferenceError: it is a lambda, nested, a partial, a method of an instance or an
            object, or resolving its text gives something else; the message says what to do.
    """
    module, path = _place_of(function)
    if module in MAIN_NAMES:
        module = _main_name_of(function)
    reference = f"{module}:{path}"
    if verify:
        _verify(function, reference)
    return reference


def resolve(reference: str) -> Callable[..., Any]:
    """Import what `module:qual.name` refers to.

    The module that is being run as a script is not imported a second time under its own name.

    Raises:
        InvalidReferenceError: the text isn't a reference, the module is missing or raises when it
            is imported, or what it names isn't there or can't be called.
    """
    check_reference(reference)
    module_name, _, path = reference.partition(":")
    found: Any = imported(module_name, reference)
    holder = module_name
    for name in path.split("."):
        found = _attribute(found, name, holder, reference)
        holder = f"{holder}.{name}"
    if not callable(found):
        raise InvalidReferenceError(
            f"{reference!r} refers to {type(found).__qualname__} {found!r:.80}, which can't be "
            "called: name a function"
        )
    return found  # type: ignore[no-any-return]  # callable() has just said so


def check_reference(text: str) -> None:
    """Refuse a text that isn't of the form `module:qual.name`; imports nothing.

    Raises:
        InvalidReferenceError: with what is wrong and how it should look.
    """
    module, colon, path = str(text).partition(":")
    if all(map(_is_name, [*module.split("."), *path.split(".")])):
        if module not in MAIN_NAMES:
            return
        raise InvalidReferenceError(
            f"{text!r} names the script that happens to run; use the name under which other "
            "processes import its module"
        )
    advice = "write 'module:function', for example 'shop.jobs:close_day'"
    if not colon and _is_name(module.replace(".", "")) and "." in module:
        before, _, last = module.rpartition(".")
        advice = f"put a colon after the module, for example '{before}:{last}'"
    elif "<lambda>" in path or "<locals>" in path:
        advice = "lambdas and nested functions can't be found by name: define one in a module"
    raise InvalidReferenceError(f"{text!r} is not a reference to a function: {advice}")


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)


def _place_of(function: Callable[..., Any]) -> tuple[str, str]:
    """Return where a function says that it lives: module, and path in it."""
    owner = getattr(function, "__self__", None)
    if isinstance(function, MethodType | BuiltinFunctionType) and isinstance(owner, type):
        # An inherited class method says the name of the class that it was defined in.
        module, path = owner.__module__, f"{owner.__qualname__}.{function.__name__}"
    else:
        module = getattr(function, "__module__", None) or ""
        path = getattr(function, "__qualname__", None) or ""
    problem = _problem(function, module, path)
    if problem:
        raise InvalidReferenceError(f"{name_of(function)!r} can't be stored by name: {problem}")
    return module, path


def _problem(function: Callable[..., Any], module: str, path: object) -> str | None:
    if isinstance(function, functools.partial):
        return "it is a functools.partial; pass its function, and its arguments with args=, kwargs="
    if not isinstance(path, str) or not path:
        return (
            f"it is an object of class {type(function).__qualname__}; give it a name in a module "
            f"and pass that as text, 'module:name', {_ELSEWHERE}"
        )
    for mark, advice in _UNNAMED.items():
        if mark in path:
            return f"{advice}, {_ELSEWHERE}"
    owner = getattr(function, "__self__", None)
    if owner is not None and not isinstance(owner, type | ModuleType):
        return (
            f"it is a method of one {type(owner).__qualname__} object; make it a function, a class "
            "or static method, or give the object a name in a module and pass "
            f"'module:object.method' as text, {_ELSEWHERE}"
        )
    if not module:
        return "it doesn't say which module it is in; pass it as text, 'module:name'"
    return None


def _verify(function: Callable[..., Any], reference: str) -> None:
    found = resolve(reference)
    if found is function:
        return
    # Bound methods are made anew at each access; equal means of the same class and function.
    if isinstance(found, MethodType | BuiltinFunctionType) and found == function:
        return
    if inspect.unwrap(found) is inspect.unwrap(function):
        raise InvalidReferenceError(
            f"{reference!r} is a decorated form of this function, or the reverse: pass the one "
            "that has this name in its module (a decorator of the scheduler goes on top)"
        )
    raise InvalidReferenceError(
        f"{reference!r} is another object ({found!r:.80}) than the one given ({function!r:.80}): "
        "pass that one, give this one a name of its own, or use functools.wraps in its decorator"
    )


def _main_name_of(function: Callable[..., Any]) -> str:
    # In a process that multiprocessing spawns, the script isn't the main module while it runs.
    file = getattr(function, "__globals__", {}).get("__file__")
    name = main_name() or (script_name(file) if file else None)
    if name is None:
        raise InvalidReferenceError(
            f"{name_of(function)!r} is defined in the script that is being run, which other "
            "processes can't import: move it into a module, or run the script with "
            f"'python -m', {_ELSEWHERE}"
        )
    return name


def _attribute(holder: Any, name: str, path: str, reference: str) -> Any:
    try:
        return getattr(holder, name)
    except AttributeError as error:
        names = [each for each in dir(holder) if not each.startswith("__")]
        close = difflib.get_close_matches(name, names, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InvalidReferenceError(f"{reference!r}: {path} has no {name!r}{hint}") from error
    except Exception as error:  # the same guard: a module or a class may compute its attributes
        raise InvalidReferenceError(
            f"{reference!r}: reading {path}.{name} failed with {type(error).__name__}: {error}"
        ) from error
