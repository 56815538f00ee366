"""How the place of a store is said: URLs, dicts, objects of drivers."""

from pathlib import Path
from typing import Any

import pytest

from tickwork import wiring
from tickwork.errors import InvalidInputError
from tickwork.stores.sql import SQLStore


class Spy:
    """Stands for any kind of store and keeps what it is made of."""

    def __init__(self, url: Any = None, *, prefix: str = "x", durability: str = "full") -> None:
        self.made_of = (url, prefix, durability)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    asked: dict[str, Any] = {}

    def part(group: str, alias: str) -> Any:
        asked[group] = alias
        return Spy

    monkeypatch.setattr(wiring, "_part", part)
    return asked


@pytest.mark.parametrize(
    ("url", "alias"),
    [
        ("sqlite:///x.db", "sqlalchemy"),
        ("postgresql+psycopg://u:p@h/d", "sqlalchemy"),
        ("postgres://h/d", "sqlalchemy"),
        ("mariadb+pymysql://h/d", "sqlalchemy"),
        ("mysql://h/d", "sqlalchemy"),
        ("redis://h:6379/0", "redis"),
        ("rediss://h", "redis"),
        ("unix:///run/redis.sock?db=1", "redis"),
        ("mongodb://h/d", "mongo"),
        ("mongodb+srv://h/d", "mongo"),
        ("file:///var/lib/tasks", "file"),
        ("elsewhere://h", "elsewhere"),
    ],
)
def test_the_scheme_of_a_url_says_which_store(url: str, alias: str, made: dict[str, Any]) -> None:
    store: Any = wiring.build_store(url)
    assert made == {"stores": alias}
    assert store.made_of == (url, "x", "full")


def test_our_options_may_stand_in_the_query(made: dict[str, Any]) -> None:
    store: Any = wiring.build_store("redis://h/1?prefix=a%7Bb&ssl=1&durability=normal")
    assert store.made_of == ("redis://h/1?ssl=1", "a{b", "normal")


def test_options_of_a_dict_come_before_those_of_its_url(made: dict[str, Any]) -> None:
    given = {"url": "redis://h?prefix=a", "prefix": "b"}
    store: Any = wiring.build_store(given)
    assert store.made_of == ("redis://h", "b", "full")
    same: Any = wiring.build_store({"type": "redis", **given})
    assert same.made_of == store.made_of


def test_a_directory_is_a_file_store(made: dict[str, Any], tmp_path: Path) -> None:
    store: Any = wiring.build_store(tmp_path)
    assert made == {"stores": "file"}
    assert store.made_of[0] is tmp_path


def test_objects_of_drivers_are_taken(made: dict[str, Any]) -> None:
    import pymongo
    import redis
    from sqlalchemy import create_engine

    expected = {
        "redis": redis.Redis(),
        "mongo": pymongo.MongoClient(connect=False),
        "sqlalchemy": create_engine("sqlite:///x.db"),
    }
    for alias, given in expected.items():
        store: Any = wiring.build_store(given)
        assert (made["stores"], store.made_of[0] is given) == (alias, True)


def test_a_missing_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str, *rest: Any, **more: Any) -> Any:
        raise ModuleNotFoundError("No module named 'redis'", name="redis.client")

    wiring._part.cache_clear()  # noqa: SLF001  else it is there already
    monkeypatch.setattr(wiring, "import_module", without)
    with pytest.raises(InvalidInputError, match=r"pip install 'tickwork\[redis\]'"):
        wiring.build_store("redis://h")


def test_another_module_that_is_missing_is_said_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'sqlalchemy'", name="sqlalchemy")

    wiring._part.cache_clear()  # noqa: SLF001  else it is there already
    monkeypatch.setattr(wiring, "import_module", without)
    with pytest.raises(ModuleNotFoundError):
        wiring.build_store("sqlite:///x.db")


def test_a_store_object_stays_itself() -> None:
    store = SQLStore("sqlite:///x.db")
    assert wiring.build_store(store) is store
