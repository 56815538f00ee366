"""Documents as files: what people see, what a crash leaves, and what can't be understood."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.unit.stores.file_mishaps import (
    CountingDisk,
    FailingDisk,
    ForgetfulDisk,
    StoppedError,
    StoppingDisk,
)
from tickwork.errors import StoreUnavailableError, UnreadableRecordError
from tickwork.interfaces import StoreEnvironment
from tickwork.model.keeping import Document, DocumentQuery
from tickwork.model.steps import PruneRequest
from tickwork.stores.file import FileStore, documents
from tickwork.stores.file.disk import Disk
from tickwork.testing.store_contract import Bench
from tickwork.testing.store_contract.bench import T0

_MANY = 10**6


class Folder:
    """A folder with clients on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bench = Bench(FileStore(path), FileStore(path))
        self._open: list[FileStore] = []

    def client(self, disk: Disk | None = None) -> FileStore:
        """Return another client, open."""
        store = FileStore(self.path)
        if disk is not None:
            store._disk = disk  # noqa: SLF001  where a test takes the place of the system
        store.open(StoreEnvironment(self.bench.codec, lambda: self.bench.now_us, simulated=True))
        self._open.append(store)
        return store

    def file(self, name: str) -> Path:
        return self.path / "documents" / name

    def close(self) -> None:
        for store in self._open:
            store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path / "store")
    yield folder
    folder.close()


def _bodies(store: FileStore) -> list[str]:
    return [each.body for each in store.documents(DocumentQuery("user"))]


def test_a_document_is_a_file_for_people(folder: Folder) -> None:
    store = folder.client()
    body = '{"name":"Älice","roles":["admin"]}'
    store.keep(Document("user", "Alice/1", body, expires_us=T0 + 60_000_000))
    assert folder.file("user/+alice%2f1.json").read_text("utf-8") == (
        "{\n"
        '  "kind": "user",\n'
        '  "key": "Alice/1",\n'
        '  "body": {\n'
        '    "name": "Älice",\n'
        '    "roles": ["admin"]\n'
        "  },\n"
        '  "revision": 1,\n'
        '  "changed_us": 1767225600000000,\n'
        '  "expires_us": 1767225660000000,\n'
        '  "readable": {\n'
        '    "changed": "2026-01-01 00:00:00+00:00",\n'
        '    "expires": "2026-01-01 00:01:00+00:00"\n'
        "  }\n"
        "}\n"
    )
    assert folder.file("user/+alice%2f1.json").stat().st_mode & 0o777 == 0o600
    assert _bodies(folder.client()) == [body]


def test_people_may_edit_it(folder: Folder) -> None:
    store = folder.client()
    store.keep(Document("user", "a", '{"n":1}'))
    path = folder.file("user/a.json")
    path.write_text(path.read_text("utf-8").replace('"n": 1', '"n": 2'), "utf-8")
    assert _bodies(store) == ['{"n":2}']
    path.unlink()
    assert _bodies(store) == []


def test_there_is_no_folder_before_there_is_a_document(folder: Folder) -> None:
    store = folder.client()
    assert _bodies(store) == []
    assert not store.forget("user", "a")
    store.prune(PruneRequest({}, 0, now_us=T0))
    assert not folder.file("").exists()


@pytest.mark.parametrize("durable", [True, False])
def test_a_crash_leaves_the_old_document_or_the_new_one(tmp_path: Path, *, durable: bool) -> None:
    """At every operation; after a power cut too, once the step has returned."""
    left: set[tuple[str, ...]] = set()
    for operations in range(100):
        folder = Folder(tmp_path / f"store{operations}")
        folder.client().keep(Document("user", "a", "1"))
        disk = ForgetfulDisk(_MANY) if durable else StoppingDisk(_MANY)
        store = folder.client(disk)
        disk.left = operations
        try:
            assert store.keep(Document("user", "a", "2")) == 2
            ended = True
        except StoppedError:
            ended = False
        disk.left = _MANY
        there = _bodies(folder.client())
        assert there in (["1"], ["2"])
        left.add(tuple(there))
        folder.close()
        if ended:
            assert there == ["2"]
            break
    assert left == {("1",), ("2",)}


def test_an_error_of_the_disk_is_an_unavailable_store(folder: Folder) -> None:
    disk = FailingDisk(_MANY)
    store = folder.client(disk)
    store.keep(Document("user", "a", "1"))
    for operations in range(6):
        disk.left = operations
        with suppress(StoreUnavailableError):
            store.keep(Document("user", "a", "2"), 1)
        assert _bodies(store) in (["1"], ["2"])
    disk.left = _MANY
    [found] = store.documents(DocumentQuery("user"))
    assert (found.body, found.revision) == ("2", 2)


def test_a_document_waits_for_the_disk_once(folder: Folder) -> None:
    disk = CountingDisk()
    store = folder.client(disk)
    store.keep(Document("user", "a", "1"))
    disk.syncs = 0
    store.keep(Document("user", "a", "2"))
    assert disk.syncs == 1
    store.keep(Document("user", "a", "3"), 1)
    store.documents(DocumentQuery("user"))
    assert disk.syncs == 1


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "{}", '{"kind":"user","key":"b","body":1,"revision":1,"changed_us":1}', "\ud800"],
)
def test_what_cant_be_understood_is_kept(
    folder: Folder, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    store = folder.client()
    for key in "ac":
        store.keep(Document("user", key, key))
    path = folder.file("user/b.json")
    written = content.encode("utf-8", "surrogatepass")
    path.write_bytes(written)
    with caplog.at_level(logging.WARNING):
        assert _bodies(store) == ["a", "c"]
    assert "b.json" in caplog.text
    with pytest.raises(UnreadableRecordError, match=r"b\.json .* mend the file, or move it away"):
        store.keep(Document("user", "b", "new"))
    with pytest.raises(UnreadableRecordError):
        store.forget("user", "b")
    store.prune(PruneRequest({}, 0, now_us=T0))
    assert path.read_bytes() == written


def test_a_file_under_the_wrong_name_is_no_document(folder: Folder) -> None:
    store = folder.client()
    store.keep(Document("user", "a", "1"))
    folder.file("user/b.json").write_bytes(folder.file("user/a.json").read_bytes())
    assert _bodies(store) == ["1"]
    with pytest.raises(UnreadableRecordError, match="isn't the file of the document 'a' in it"):
        store.keep(Document("user", "b", "new"))


@pytest.mark.parametrize("content", [b"", b"\0" * 512, b"\n"])
def test_what_a_power_cut_has_emptied_is_no_document(folder: Folder, content: bytes) -> None:
    store = folder.client()
    store.keep(Document("user", "a", "1"))
    folder.file("user/a.json").write_bytes(content)
    assert _bodies(store) == []
    assert store.keep(Document("user", "a", "2"), 0) == 1
    assert _bodies(store) == ["2"]


def test_other_files_are_left_alone(folder: Folder) -> None:
    store = folder.client()
    store.keep(Document("user", "a", "1", expires_us=T0 + 1))
    others = [folder.file("README.txt"), folder.file("user/a.json~"), folder.file("user/.new")]
    for path in others:
        path.write_text("mine", "utf-8")
    folder.bench.now_us += 1
    store.prune(PruneRequest({}, 0, now_us=T0 + 1))
    assert [path.read_text("utf-8") for path in others] == ["mine"] * 3
    assert not folder.file("user/a.json").exists()


def test_pruning_looks_at_so_many_files_at_a_time(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "_LOOKED_AT", 3)
    store = folder.client()
    for number in range(7):
        store.keep(Document("user", f"{number}", "1", expires_us=T0 + 1))
    folder.bench.now_us += 1
    left = []
    for _ in range(4):
        store.prune(PruneRequest({}, 0, now_us=T0 + 1))
        left.append(len(list(folder.file("user").iterdir())))
    assert left == [4, 1, 0, 0]
