"""Arguments and results as JSON text, and back.

Data is data: reading a stored text imports nothing and runs nothing but constructors of standard
values and, with a function at hand, of classes that its annotations mention. What would not come
back equal is refused when it is stored, not when it is needed. How values look as data is the
matter of `tickwork.model.tagging`, objects of users' classes that of `tickwork.model.revival`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from tickwork.errors import InvalidArgumentsError, UnreadableRecordError
from tickwork.model.advice import advice_for, path_to
from tickwork.model.callables import name_of
from tickwork.model.description import described
from tickwork.model.json_text import from_text, has_tags, to_text
from tickwork.model.revival import UnknownClassError, pack_as_data, pack_for_revival, revive, same
from tickwork.model.signatures import parameters_of
from tickwork.model.standard import is_unicode
from tickwork.model.tagging import NotDataError, Packing, unknown_tag, unpack

__all__ = [
    "decode_arguments",
    "decode_result",
    "describe_arguments",
    "describe_result",
    "encode_arguments",
    "encode_result",
]

T = TypeVar("T")
_MADE_THERE = "pass plain data, and make the object in the task"
_RETURN = "return plain data, or where the data is"
_Place = int | str
_Function = Callable[..., Any] | None


def encode_arguments(args: Sequence[Any], kwargs: Mapping[str, Any], function: _Function) -> str:
    """Return arguments as compact JSON text, or "" where there are none.

    Equal arguments have the same text. `function` is the one that they are for, if it is at hand.

    Raises:
        InvalidArgumentsError: an argument would not come back equal; the message names it and says
            what to do.
    """
    if not args and not kwargs:
        return ""
    _check_shape(args, kwargs)
    packed = {
        "args": [_pack(value, place, function) for place, value in enumerate(args)],
        "kwargs": {key: _pack(value, key, function) for key, value in kwargs.items()},
    }
    text = to_text(packed)
    if has_tags(text):
        _verify(text, args, kwargs, function)
    return text


def decode_arguments(payload: str, function: _Function) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a text, objects brought back by the annotations of `function`.

    Raises:
        UnreadableRecordError: the text isn't one of arguments, or an object in it can't be made.
    """
    if not payload:
        return (), {}
    args, kwargs = _parsed(payload)
    if not has_tags(payload):
        return tuple(args), kwargs
    return (
        tuple([_unpacked(data, place, function) for place, data in enumerate(args)]),
        {key: _unpacked(data, key, function) for key, data in kwargs.items()},
    )


def describe_arguments(payload: str) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of a text as JSON data for people: what isn't plain becomes text.

    Objects of users' classes appear as their data. Imports nothing.

    Raises:
        UnreadableRecordError: the text isn't one of arguments.
    """
    if not payload:
        return [], {}
    args, kwargs = _parsed(payload)
    return (
        [_read(data, described, place) for place, data in enumerate(args)],
        {key: _read(data, described, key) for key, data in kwargs.items()},
    )


def encode_result(value: Any) -> str:
    """Return a result as JSON text, objects of users' classes as the data that they stand for.

    Enum members become their values, dataclasses and models dicts, subclasses of standard types
    those types: results are for reading, and are read without the function.

    Raises:
        InvalidArgumentsError: the value can't be stored; the message says what to return instead.
    """
    try:
        text = to_text(Packing(pack_as_data).pack(value))
        if has_tags(text):  # a set of dataclasses would be one of dicts, which there can't be
            decode_result(text)
    except (NotDataError, UnreadableRecordError, RecursionError) as error:
        _refuse("the result", value, error, _RETURN)
    return text


def decode_result(text: str) -> Any:
    """Return the value of a result's text.

    Raises:
        UnreadableRecordError: the text isn't one of a result.
    """
    return _read(text, lambda it: unpack(from_text(it), unknown_tag))


def describe_result(text: str) -> Any:
    """Return a result's text as JSON data for people; what JSON doesn't know becomes text.

    Raises:
        UnreadableRecordError: the text isn't one of a result.
    """
    return _read(text, lambda it: described(from_text(it)))


def _check_shape(args: Any, kwargs: Any) -> None:
    if isinstance(args, str | bytes | bytearray) or not isinstance(args, Sequence):
        raise InvalidArgumentsError(
            f"args is {args!r:.80}: give a list or tuple of the arguments, such as args=[...]"
        )
    if not isinstance(kwargs, Mapping):
        raise InvalidArgumentsError(
            f"kwargs is {kwargs!r:.80}: give a dict of arguments by name, such as kwargs={{...}}"
        )
    for key in kwargs:
        if type(key) is not str or not is_unicode(key):
            raise InvalidArgumentsError(f"kwargs has the key {key!r:.80}: give names of parameters")


def _pack(value: Any, place: _Place, function: _Function) -> Any:
    try:
        return Packing(pack_for_revival).pack(value)
    except NotDataError as error:
        _refuse(_named(place, function), value, error)
    except (UnreadableRecordError, RecursionError) as error:
        _refuse(_named(place, function), value, error, _MADE_THERE)


def _verify(text: str, args: Sequence[Any], kwargs: Mapping[str, Any], function: _Function) -> None:
    """Refuse what doesn't come back equal, by trying it."""
    stored_args, stored_kwargs = _parsed(text)
    stored: list[tuple[_Place, Any, Any]] = [
        *((place, args[place], data) for place, data in enumerate(stored_args)),
        *((key, kwargs[key], data) for key, data in stored_kwargs.items()),
    ]
    for place, value, data in stored:
        try:
            back = _unpacked(data, place, function)
            if same(value, back):
                continue
            reason, advice = f"it comes back as {back!r:.200}, which isn't equal", _MADE_THERE
        except UnknownClassError as problem:
            reason, advice = str(problem), None
        except (UnreadableRecordError, RecursionError) as problem:
            reason, advice = str(problem), _MADE_THERE
        error = NotDataError(_first_object(value), reason)
        _refuse(_named(place, function), value, error, advice)


def _refuse(what: str, value: Any, error: Exception, advice: str | None = None) -> NoReturn:
    culprit = error.culprit if isinstance(error, NotDataError) else value
    reason = str(error) if not isinstance(error, RecursionError) else "it is nested too deep"
    name = type(culprit).__qualname__
    path = path_to(value, culprit)
    where = f"{what} is of type {name}" if not path else f"{what} has a {name} at {path}"
    raise InvalidArgumentsError(
        f"{where}, which can't be stored{f' ({reason})' if reason else ''}: "
        f"{advice or advice_for(culprit)}"
    ) from error


def _first_object(value: Any) -> Any:
    """Return the first object of a user's class in a value, or the value."""
    found: list[Any] = []

    def note(packing: Packing, part: Any) -> Any:
        found.append(part)
        return pack_for_revival(packing, part)

    Packing(note).pack(value)
    return found[0] if found else value


def _parameter(place: _Place, function: _Function) -> str | None:
    parameters = parameters_of(function) if function is not None else None
    if parameters is None:
        return None
    return parameters.name_at(place) if isinstance(place, int) else parameters.name_for(place)


def _named(place: _Place, function: _Function) -> str:
    spelt = f"args[{place}]" if isinstance(place, int) else f"kwargs[{place!r}]"
    name = _parameter(place, function)
    return f"argument {name!r} of {name_of(function)}() ({spelt})" if function and name else spelt


def _parsed(payload: str) -> tuple[list[Any], dict[str, Any]]:
    data = _read(payload, from_text)
    if isinstance(data, dict) and data.keys() == {"args", "kwargs"}:
        args, kwargs = data["args"], data["kwargs"]
        if isinstance(args, list) and isinstance(kwargs, dict):
            return args, kwargs
    raise UnreadableRecordError(f"stored arguments have another form: {payload!r:.200}")


def _unpacked(data: Any, place: _Place, function: _Function) -> Any:
    def revived(tag: str, content: Any) -> Any:
        return revive(tag, content, function, _parameter(place, function))

    return _read(data, lambda it: unpack(it, revived), place)


def _read(source: T, make: Callable[[T], Any], place: _Place | None = None) -> Any:
    try:
        return make(source)
    except UnreadableRecordError:
        raise
    except Exception as error:  # the guard of decoding: stored text may be anything
        where = "stored value" if place is None else f"stored argument {place!r}"
        raise UnreadableRecordError(f"{where} can't be understood: {error!r:.500}") from error
