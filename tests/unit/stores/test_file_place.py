"""Where a file store is, as users write it."""

from pathlib import Path
from typing import Any

import pytest

from tickwork.errors import InvalidInputError
from tickwork.interfaces import StoreEnvironment
from tickwork.stores.file import FileStore
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import task
from tickwork.wiring import build_store


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///var/tasks", "/var/tasks"),
        ("file://localhost/var/tasks/", "/var/tasks"),
        ("file:///var/my%20tasks", "/var/my tasks"),
        ("file:///var/tasks?prefix=shop_", "/var/tasks/shop_"),
        ("/var/tasks", "/var/tasks"),
        (Path("/var/tasks"), "/var/tasks"),
    ],
)
def test_a_folder_is_named_in_many_ways(url: str | Path, path: str) -> None:
    assert FileStore(url).path == Path(path)


def test_a_path_that_is_not_absolute_stays_where_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = FileStore("tasks")
    assert store.path == tmp_path / "tasks"
    assert repr(store) == f"FileStore({str(tmp_path / 'tasks')!r})"


def test_a_store_is_built_of_a_url(tmp_path: Path) -> None:
    store = build_store(f"file://{tmp_path}/tasks?prefix=a&durability=normal")
    assert isinstance(store, FileStore)
    assert store.path == tmp_path / "tasks" / "a"
    described = build_store({"type": "file", "url": str(tmp_path), "durability": "full"})
    assert isinstance(described, FileStore)
    assert described.path == tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url": "file://tasks"}, "three slashes"),
        ({"url": "file:///"}, "doesn't name a folder"),
        ({"url": "file://other.host/tasks"}, "three slashes"),
        ({"url": "ftp:///tasks"}, "doesn't name a folder"),
        ({"url": ""}, "an empty name"),
        ({"url": "file:///tasks?mode=x"}, "'mode' in .* isn't an option"),
        ({"url": "file:///tasks?durability=x"}, "durability='x' isn't known"),
        ({"url": "/tasks", "durability": "half"}, "durability='half' isn't known"),
        ({"url": "/tasks", "prefix": "../etc"}, r"prefix='\.\./etc' can't be the name"),
        ({"url": "/tasks", "prefix": ".."}, "can't be the name"),
    ],
)
def test_what_means_nothing_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        FileStore(**arguments)


def test_stores_of_other_prefixes_share_nothing(tmp_path: Path) -> None:
    benches = []
    for prefix in ("", "a", "b"):
        store = FileStore(tmp_path / "new" / "folders", prefix=prefix)
        benches.append(Bench(store, store))
        benches[-1].open()
        benches[-1].put(task(f"only {prefix}"))
    for bench in benches:
        assert len(bench.dump().tasks) == 1
        bench.close()


def test_a_new_folder_is_its_owners_only(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "tasks")
    bench = Bench(store, store)
    bench.open()
    bench.put(task())
    bench.close()
    modes = {path.name: path.stat().st_mode & 0o077 for path in (tmp_path / "tasks").rglob("*")}
    assert modes == dict.fromkeys(["lock", "runs-1.jsonl", "tasks", "task.json"], 0)
    assert (tmp_path / "tasks").stat().st_mode & 0o077 == 0


def test_a_store_that_is_opened_twice_is_open_once(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    bench = Bench(store, store)
    bench.open()
    bench.put(task())
    store.open(StoreEnvironment(bench.codec, lambda: 7))
    assert bench.task() == task()
    bench.close()
