"""Arguments and results come back as they were, or are refused with what to do about it."""

import functools
import io
import json
import math
import uuid
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, TypedDict
from zoneinfo import ZoneInfo

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickwork.errors import InvalidArgumentsError, UnreadableRecordError
from tickwork.model.revival import same
from tickwork.model.standard import READERS
from tickwork.model.values import (
    decode_arguments,
    decode_result,
    describe_arguments,
    encode_arguments,
    encode_result,
)


class Color(Enum):
    RED = "red"
    GREEN = object()  # a value that is no data; the name is enough


class Size(StrEnum):
    SMALL = "small"


class Level(IntEnum):
    LOW = 1


class Right(Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    color: Color = Color.RED


@dataclass
class Line:
    color: Color
    when: datetime | None = None
    points: list[Point] = field(default_factory=list)


@dataclass
class Derived:
    base: int
    double: int = field(init=False)

    def __post_init__(self) -> None:
        self.double = self.base * 2


class Order(pydantic.BaseModel):
    customer: str = pydantic.Field(validation_alias="customerId")
    color: Size = Size.SMALL
    due: date | None = None
    lines: list[int] = []


def order(customer: str, **others: Any) -> Order:
    return Order.model_validate({"customerId": customer, **others})


class Row(TypedDict):
    color: Color


Tint = NewType("Tint", Color)


def plain(*_args: Any, **_kwargs: Any) -> None: ...


def back(value: Any, function: Callable[..., Any] | None = plain) -> Any:
    payload = encode_arguments([value], {"named": value}, function)
    args, kwargs = decode_arguments(payload, function)
    assert same(args[0], kwargs["named"])
    return args[0]


fixed_zones = st.builds(
    lambda minutes: timezone(timedelta(minutes=minutes)), st.integers(-1439, 1439)
) | st.just(timezone(timedelta(hours=1), "CET"))
zones = st.none() | st.just(UTC) | fixed_zones | st.builds(ZoneInfo, st.sampled_from(
    ["Europe/Berlin", "America/New_York", "UTC", "Australia/Lord_Howe"]
))  # fmt: skip
texts = st.text(st.characters(exclude_categories=[])) | st.sampled_from(
    ["$tuple", '"$', "\ud83d\ude00", "\x00", "caf\udce9"]
)
hashable_atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**400), 10**400),
    st.floats(),
    texts,
    st.binary(),
    st.datetimes(timezones=zones),
    st.dates(),
    st.times(timezones=zones),
    st.timedeltas(),
    fixed_zones,
    st.decimals(),
    st.sampled_from([Decimal("1.00"), Decimal("-0"), Decimal("sNaN12"), Decimal("1E+400")]),
    st.fractions(),
    st.complex_numbers(),
    st.uuids(),
    st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 9)),
    st.sampled_from([Path("a/b"), PurePosixPath("/x"), PureWindowsPath("c:\\x"), Path("\udce9")]),
).filter(lambda value: not (isinstance(value, Decimal) and value.is_snan()))
hashables = st.recursive(
    hashable_atoms,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
values = st.recursive(
    hashables | st.builds(bytearray, st.binary()) | st.just(Decimal("sNaN12")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.sets(hashables, max_size=4),
        st.dictionaries(texts, inner, max_size=3),
        st.dictionaries(hashables, inner, max_size=3),
    ),
    max_leaves=12,
)
json_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(), inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*READERS, "$enum", "$object", "$new"]), inner, min_size=1, max_size=1
        )
    ),
)


class TestStandardValues:
    @given(values)
    def test_come_back_the_same(self, value: Any) -> None:
        assert same(back(value), value)

    @given(values)
    def test_come_back_the_same_from_results(self, value: Any) -> None:
        assert same(decode_result(encode_result(value)), value)

    @given(values)
    def test_have_one_text_that_every_store_can_take(self, value: Any) -> None:
        payload = encode_arguments([value], {}, None)
        assert payload == encode_arguments([back(value)], {}, None)
        payload.encode()
        assert list(json.loads(payload)) == ["args", "kwargs"]

    @given(values)
    def test_are_described_as_strict_json(self, value: Any) -> None:
        args, kwargs = describe_arguments(encode_arguments([value], {"x": value}, None))
        assert args == [kwargs["x"]]
        json.dumps([args, kwargs], allow_nan=False).encode()

    @pytest.mark.parametrize("value", [1, True, 1.0, "1", -0.0, 0.0, math.inf, [], {}, ()])
    def test_keep_their_type(self, value: Any) -> None:
        found = back(value)
        assert type(found) is type(value)
        assert repr(found) == repr(value)

    def test_keep_zone_and_fold(self) -> None:
        moment = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)
        found = back(moment)
        assert found.tzinfo is moment.tzinfo
        assert (found.fold, found.utcoffset()) == (1, timedelta(hours=1))
        assert back(time(2, 30, fold=1)).fold == 1
        assert back(datetime(2026, 1, 1, tzinfo=UTC)).tzinfo is UTC

    def test_named_offsets_keep_their_name(self) -> None:
        assert back(timezone(timedelta(hours=1), "CET")).tzname(None) == "CET"

    def test_dicts_that_look_like_tags_stay_dicts(self) -> None:
        values: list[Any] = [{"$tuple": [1]}, {"$new": 1}, {"$dict": []}, {"$": {"$": 1}}]
        assert [back(value) for value in values] == values

    def test_dicts_keep_their_order(self) -> None:
        assert list(back({"b": 1, "a": 2})) == ["b", "a"]
        assert list(back({2: 1, 1: 2})) == [2, 1]

    def test_plain_data_has_the_plain_text(self) -> None:
        payload = encode_arguments([1, "ä"], {"to": None}, plain)
        assert payload == '{"args":[1,"ä"],"kwargs":{"to":null}}'
        assert decode_arguments(payload, plain) == ((1, "ä"), {"to": None})

    def test_no_arguments_are_no_text(self) -> None:
        assert encode_arguments((), {}, plain) == ""
        assert decode_arguments("", plain) == ((), {})
        assert describe_arguments("") == ([], {})

    def test_equal_sets_have_the_same_text(self) -> None:
        numbers = range(0, 8000, 8)  # many of one hash bucket: the order is that of insertion
        texts = {encode_arguments([set(order)], {}, None) for order in (numbers, numbers[::-1])}
        assert len(texts) == 1


def annotated(  # noqa: PLR0917 - one parameter for each form of annotation
    color: Color,
    many: list[Color] | None = None,
    maybe: Optional[Line] = None,  # noqa: UP045
    table: dict[str, tuple[Point, ...]] | None = None,
    either: Size | Level = Size.SMALL,
    order: "Order | None" = None,
    right: Annotated[Right, "rights"] = Right.READ,
    literal: Literal[Color.RED] = Color.RED,
    row: Row | None = None,
    tint: Tint | None = None,
    *rest: Point,
    **more: Line,
) -> None: ...


class TestObjectsOfAnnotatedParameters:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("color", Color.RED),
            ("color", Color.GREEN),
            ("many", [Color.RED, Color.GREEN]),
            ("maybe", Line(Color.RED, datetime(2026, 1, 1, tzinfo=UTC), [Point(1), Point(2)])),
            ("table", {"a": (Point(1, Color.GREEN),), "b": ()}),
            ("either", Size.SMALL),
            ("either", Level.LOW),
            ("order", order("$x", due=date(2026, 1, 1), lines=[1, 2])),
            ("right", Right.READ),
            ("right", Right.READ | Right.WRITE),
            ("right", Right(0)),
            ("literal", Color.RED),
            ("row", {"color": Color.RED}),
            ("tint", Color.RED),
            ("anything", Line(Color.GREEN)),
        ],
    )
    def test_come_back_equal(self, name: str, value: Any) -> None:
        payload = encode_arguments([], {name: value}, annotated)
        found = decode_arguments(payload, annotated)[1][name]
        assert type(found) is type(value)
        assert found == value

    def test_come_back_by_position_too(self) -> None:
        args = (Color.RED, None, None, None, Level.LOW)
        assert decode_arguments(encode_arguments(args, {}, annotated), annotated)[0] == args
        rest = (Color.RED, *[None] * 9, Point(3))
        assert decode_arguments(encode_arguments(rest, {}, annotated), annotated)[0] == rest

    def test_plain_data_stays_plain_whatever_the_annotation(self) -> None:
        payload = encode_arguments(["red"], {}, annotated)
        assert decode_arguments(payload, annotated) == (("red",), {})

    def test_derived_fields_are_made_again(self) -> None:
        def task(_it: Derived) -> None: ...

        # A nested function's annotations are evaluated like any other's.
        assert back_for(task, Derived(4)) == Derived(4)

    def test_a_renamed_class_is_found_by_the_annotation(self) -> None:
        def task(_it: Color) -> None: ...

        payload = encode_arguments([Color.RED], {}, task).replace('"Color"', '"OldColor"')
        assert decode_arguments(payload, task)[0] == (Color.RED,)

    def test_annotations_that_cannot_be_evaluated_spoil_only_themselves(self) -> None:
        def task(_it: Color, _other: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821

        assert back_for(task, Color.RED) is Color.RED

    def test_methods_and_objects_are_annotated_like_functions(self) -> None:
        @functools.lru_cache
        def cached(it: Color) -> None: ...

        class Job:
            it: int

            def __call__(self, it: Color) -> None: ...

            @classmethod
            def close(cls, it: Color) -> None: ...

        for function in (Job(), Job.close, Job().__call__, cached, functools.partial(cached)):
            assert back_for(function, Color.RED) is Color.RED

    def test_are_described_without_their_classes(self) -> None:
        line = Line(Color.RED, datetime(2026, 1, 1, tzinfo=UTC), [Point(1)])
        payload = encode_arguments([Color.RED], {"x": line, "right": Right(3)}, annotated)
        assert describe_arguments(payload) == (
            ["Color.RED"],
            {
                "x": {
                    "color": "Color.RED",
                    "when": "2026-01-01 00:00:00+00:00",
                    "points": [{"x": 1, "color": "Color.RED"}],
                },
                "right": "Right.READ|WRITE",
            },
        )


def back_for(function: Callable[..., Any], value: Any) -> Any:
    return decode_arguments(encode_arguments([value], {}, function), function)[0][0]


class Odd(tzinfo):
    def utcoffset(self, _: datetime | None) -> timedelta:
        return timedelta(hours=1)

    dst = utcoffset

    def tzname(self, _: datetime | None) -> str:
        return "odd"


def looped() -> list[Any]:
    value: list[Any] = []
    value.append({"x": value})
    return value


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def multiplied() -> list[Any]:
    value: list[Any] = []
    for _ in range(60):
        value = [value, value]
    return value


async def coroutine() -> None: ...


REFUSED = [
    (Color.RED, r"\(\).*type Color.*no class.*annotate the parameter with Color"),
    (Level.LOW, "type Level.*annotate the parameter"),
    (Line(Color.RED), "type Line.*annotate the parameter with Line"),
    (order("x"), "type Order.*annotate the parameter with Order"),
    ([[Color.RED]], r"has a Color at \[0\]\[0\]"),
    ({"a": {"b": (1, Color.RED)}}, r"has a Color at \['a'\]\['b'\]\[1\]"),
    ({Color.RED: 1}, r"has a Color at \.keys\(\)"),
    ({Color.RED}, r"has a Color at \{\.\.\.\}"),
    (object(), "type object.*pass an id or plain data, and load the object in the task"),
    (lambda: 1, "type function.*pass its name as text"),
    (int, "type type.*pass its name as text"),
    (json, "type module.*pass its name as text"),
    (io.StringIO(), "StringIO.*pass its path, and open it in the task"),
    ((each for each in "ab"), "generator.*pass a list of what it yields"),
    (OrderedDict(a=1), "OrderedDict.*convert it to a plain dict first"),
    (type("Text", (str,), {})("x"), "Text.*convert it to a plain str first"),
    (type("Moment", (datetime,), {})(2026, 1, 1), "Moment.*plain datetime"),
    (datetime(2026, 1, 1, tzinfo=Odd()), r"Odd.*zoneinfo\.ZoneInfo"),
    (looped(), "contains itself"),
    (nested(101), "more than 100 levels deep"),
    (multiplied(), "more than 100,000 parts"),
    (..., "ellipsis"),
]


class TestRefused:
    @pytest.mark.parametrize(("value", "message"), REFUSED, ids=range(len(REFUSED)))
    def test_with_the_argument_and_what_to_do(self, value: Any, message: str) -> None:
        def send(to: Any) -> None: ...

        with pytest.raises(InvalidArgumentsError, match=f"(?s)'to' of .*send.*{message}"):
            encode_arguments([value], {}, send)
        with pytest.raises(InvalidArgumentsError, match=r"kwargs\['to'\]"):
            encode_arguments([], {"to": value}, None)

    def test_deep_but_not_too_deep_is_fine(self) -> None:
        assert back(nested(98)) == nested(98)

    def test_objects_that_do_not_come_back_equal(self) -> None:
        @dataclass
        class Counting:
            seen: int = field(default=0, init=False)

        def task(it: Counting) -> None: ...

        counting = Counting()
        counting.seen = 7
        with pytest.raises(
            InvalidArgumentsError, match=r"comes back as .*seen=0.*isn't equal.*: pass plain"
        ):
            encode_arguments([counting], {}, task)

    def test_subclasses_of_what_is_annotated(self) -> None:
        @dataclass
        class Thick(Line):
            width: int = 1

        with pytest.raises(InvalidArgumentsError, match=r"annotate the parameter with .*Thick"):
            encode_arguments([], {"maybe": Thick(Color.RED)}, annotated)

    def test_classes_whose_constructor_refuses_their_own_data(self) -> None:
        @dataclass
        class Picky:
            value: int

            def __post_init__(self) -> None:
                if self.value == 2:
                    raise SystemError("not 2")

        def task(it: Picky) -> None: ...

        picky = Picky(1)
        picky.value = 2
        with pytest.raises(InvalidArgumentsError, match="SystemError: not 2"):
            encode_arguments([picky], {}, task)

    @pytest.mark.parametrize("args", ["berlin", b"x", {1}, 5, {"a": 1}])
    def test_args_that_are_no_list(self, args: Any) -> None:
        with pytest.raises(InvalidArgumentsError, match="give a list or tuple"):
            encode_arguments(args, {}, None)

    def test_kwargs_that_are_no_names(self) -> None:
        with pytest.raises(InvalidArgumentsError, match="names of parameters"):
            encode_arguments([], {1: 2}, None)  # type: ignore[dict-item]
        with pytest.raises(InvalidArgumentsError, match="give a dict"):
            encode_arguments([], [1], None)  # type: ignore[arg-type]


class TestResults:
    @pytest.mark.parametrize(
        ("value", "found"),
        [
            (None, None),
            (Size.SMALL, "small"),
            (Level.LOW, 1),
            (Point(1), (1, "red")),
            (Derived(1), {"base": 1, "double": 2}),
            (
                order("x", due=date(2026, 1, 1)),
                {"customer": "x", "color": "small", "due": "2026-01-01", "lines": []},
            ),
            (OrderedDict(a=type("Real", (float,), {})(1.5)), {"a": 1.5}),
            ({Level.LOW: Decimal(1)}, {1: Decimal(1)}),
        ],
    )
    def test_are_plain_data(self, value: Any, found: Any) -> None:
        assert same(decode_result(encode_result(value)), found)

    def test_none_is_null(self) -> None:
        assert encode_result(None) == "null"

    @pytest.mark.parametrize("value", [object(), [lambda: 1], {Color.GREEN}, looped()])
    def test_that_are_no_data_are_refused(self, value: Any) -> None:
        with pytest.raises(InvalidArgumentsError, match=r"the result .*return plain data"):
            encode_result(value)

    def test_sets_of_what_would_be_dicts_are_refused(self) -> None:
        @dataclass(frozen=True)
        class Frozen:
            value: int

        with pytest.raises(InvalidArgumentsError, match="unhashable"):
            encode_result({Frozen(1)})


class TestGarbage:
    @given(st.text() | st.builds(json.dumps, json_data))
    def test_never_raises_anything_but_unreadable(self, text: str) -> None:
        for read in (decode_result, describe_arguments, lambda it: decode_arguments(it, annotated)):
            with suppress(UnreadableRecordError):
                read(text)

    @given(json_data)
    def test_never_raises_anything_but_unreadable_for_arguments(self, data: Any) -> None:
        try:
            text = json.dumps({"args": [data], "kwargs": {"maybe": data}}, allow_nan=False)
        except ValueError:
            return
        for read in (describe_arguments, lambda it: decode_arguments(it, annotated)):
            with suppress(UnreadableRecordError):
                read(text)

    @pytest.mark.parametrize(
        "text",
        [
            "null", "[]", "{}", '{"args":[]}', '{"args":{},"kwargs":{}}', "[" * 100_000, "NaN",
            '{"args":[],"kwargs":{},"more":1}', '{"args":[NaN],"kwargs":{}}', "\x00",
            '{"args":[{"$new":1}],"kwargs":{}}', '{"args":[{"$zoneinfo":"../x"}],"kwargs":{}}',
            '{"args":[{"$zoneinfo":"No/Where"}],"kwargs":{}}',
            '{"args":[{"$set":[[]]}],"kwargs":{}}',
            '{"args":[{"$enum":["Color","RED"]}],"kwargs":{}}',
            '{"args":' + '[{"$tuple":' * 5000 + "[]" + "}]" * 5000 + ',"kwargs":{}}',
        ],
        ids=lambda text: text[:30],
    )  # fmt: skip
    def test_is_unreadable(self, text: str) -> None:
        with pytest.raises(UnreadableRecordError):
            decode_arguments(text, None)

    def test_unknown_kinds_are_named(self) -> None:
        with pytest.raises(UnreadableRecordError, match=r"'\$new'"):
            decode_result('[{"$new": 1}]')

    def test_a_class_is_never_looked_up_by_the_stored_name(self) -> None:
        text = '{"args":[{"$object":["os.system",{"command":"true"}]}],"kwargs":{}}'
        with pytest.raises(UnreadableRecordError, match="no class"):
            decode_arguments(text, plain)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"ab\x00", r"b'ab\x00'"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (timedelta(hours=1), "1:00:00"),
        (math.nan, "nan"),
        (10**30, "1" + "0" * 30),
        pytest.param(10**5000, hex(10**5000), id="huge"),
        (Path("caf\udce9"), "caf\\udce9"),
        (Fraction(1, 3), "1/3"),
        (range(3), "range(0, 3)"),
        ((1, {2}), [1, [2]]),
        ({1: "a", (1, 2): "b"}, {"1": "a", "[1,2]": "b"}),
        ({"$tuple": 1}, {"$tuple": 1}),
    ],
)
def test_a_description_is_readable(value: Any, text: Any) -> None:
    assert describe_arguments(encode_arguments([value], {}, None)) == ([text], {})


def test_an_unawaited_coroutine_is_refused() -> None:
    waiting = coroutine()
    with pytest.raises(InvalidArgumentsError, match="await it first"):
        encode_arguments([waiting], {}, None)
    waiting.close()
