"""Documents as files: one each, in a folder for their kind, for people to read.

    documents/user/alice.json

There is nothing beside the files: no line of the log, nothing in memory. Who changes a document
holds the folder's lock alone, reads its file, and replaces it atomically; who looks at some shares
the lock. In the file stands what the document says as the object that it is, if that comes back as
the very same text.

A file that can't be understood is kept, and told of in the log of this process; its document is
shown to nobody, and can't be written. One that a power cut has left empty is none.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from io import FileIO
from itertools import islice
from os import scandir, sep
from pathlib import Path
from typing import Any

from tickwork.errors import InvalidInputError, UnreadableRecordError
from tickwork.model.json_text import from_text, to_text
from tickwork.model.keeping import Document, DocumentQuery, check_place, revision_of
from tickwork.stores.file.disk import Disk
from tickwork.stores.file.names import SUFFIX, file_name, id_of
from tickwork.stores.file.papers import folded, instant_text, on_lines, unfolded

__all__ = ["Documents"]

logger = logging.getLogger("tickwork.stores.file")

_LOOKED_AT = 500
"""How many files are looked at, at most, to find out what has expired."""


class Documents:
    """The documents of a folder. Its methods are called under the folder's lock."""

    def __init__(self, folder: Path, disk: Disk, *, durable: bool) -> None:
        self._folder = folder
        self._disk = disk
        self._durable = durable
        self._unlooked: list[str] = []

    # --- changing -----------------------------------------------------------------------------

    def keep(self, document: Document, expected: int | None, now_us: int) -> int | None:
        """Do a store's `keep`."""
        revision = revision_of(self._read(document.kind, document.key), now_us)
        if expected is not None and revision != expected:
            return None
        new = replace(document, revision=revision + 1, changed_us=now_us)
        kind = self._kind(document.kind)
        self._make(kind)
        data = _content(new).encode()
        self._disk.put(str(kind), file_name(new.key), data, durable=self._durable)
        self._make_sure(kind)
        return new.revision

    def _make(self, kind: Path) -> None:
        if kind.is_dir():
            return
        for folder in (self._folder, kind):
            self._disk.make_folder(folder)
            self._make_sure(folder.parent)

    def _make_sure(self, folder: Path) -> None:
        if self._durable:
            self._disk.sync_folder(str(folder))

    def forget(self, kind: str, key: str, expected: int | None, now_us: int) -> bool:
        """Do a store's `forget`."""
        check_place(kind, key)
        revision = revision_of(self._read(kind, key), now_us)
        if not revision or (expected is not None and revision != expected):
            return False
        self._remove(self._path(kind, key))
        return True

    def _remove(self, path: str) -> None:
        self._disk.remove(path)
        self._make_sure(Path(path).parent)

    def prune(self, now_us: int, limit: int) -> None:
        """Forget up to `limit` documents that have expired, wherever the last call stopped."""
        if not self._unlooked:
            self._unlooked = [path for kind in _names(self._folder) for path in _paths(kind)]
        for _ in range(min(len(self._unlooked), _LOOKED_AT)):
            path = self._unlooked.pop()
            found = _tried(path)
            if found is not None and not revision_of(found, now_us):
                self._remove(path)
                limit -= 1
            if limit <= 0:
                return

    # --- looking ------------------------------------------------------------------------------

    def listed(self, query: DocumentQuery, now_us: int) -> list[Document]:
        """Do a store's `documents`."""
        there = (each for each in self._found(query) if revision_of(each, now_us))
        return list(islice(there, query.limit))

    def _found(self, query: DocumentQuery) -> Iterator[Document]:
        if query.key is not None:
            paths = {query.key: self._path(query.kind, query.key)} if query.key else {}
        else:
            paths = _keys(str(self._kind(query.kind)))
        for key in sorted(paths, reverse=query.newest_first):
            before = query.before is None or key < query.before
            if before and (query.after is None or key > query.after):
                found = _tried(paths[key])
                if found is not None:
                    yield found

    def _read(self, kind: str, key: str) -> Document | None:
        try:
            return _document(self._path(kind, key))
        except UnreadableRecordError as error:
            raise UnreadableRecordError(
                f"{error}; mend the file, or move it away to have the document written anew"
            ) from error

    def _kind(self, kind: str) -> Path:
        return self._folder / file_name(kind).removesuffix(SUFFIX)

    def _path(self, kind: str, key: str) -> str:
        return f"{self._kind(kind)}{sep}{file_name(key)}"


def _names(folder: Path) -> list[str]:
    try:
        return [each.path for each in scandir(folder)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _paths(kind: str) -> list[str]:
    return [path for path in _names(Path(kind)) if path.endswith(SUFFIX)]


def _keys(kind: str) -> dict[str, str]:
    """Return the files of a kind by their keys."""
    keys: dict[str, str] = {}
    for path in _paths(kind):
        name = path.rpartition(sep)[2]
        key = id_of(name)
        if file_name(key) != name:
            # Its name is too long to say it.
            found = _tried(path)
            if found is None:
                continue
            key = found.key
        keys[key] = path
    return keys


def _tried(path: str) -> Document | None:
    """Return the document in a file, or None where there is none that can be understood."""
    try:
        return _document(path)
    except UnreadableRecordError as error:
        logger.warning("a document is left out: %s", error, extra={"file": path})
        return None


def _document(path: str) -> Document | None:
    """Return the document in a file, or None where there is none.

    Raises:
        UnreadableRecordError: what stands there can't be understood.
    """
    try:
        with FileIO(path) as file:
            content = file.read()
    except FileNotFoundError:
        return None
    if not content.strip(b"\0\r\n "):
        return None
    try:
        paper = from_text(content.decode())
        found = _document_of(paper)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableRecordError(f"{path} can't be understood: {error!r:.200}") from error
    except InvalidInputError as error:
        raise UnreadableRecordError(f"{path} can't be understood: {error}") from error
    if file_name(found.key) != path.rpartition(sep)[2]:
        raise UnreadableRecordError(f"{path} isn't the file of the document {found.key!r} in it")
    return found


def _document_of(paper: dict[str, Any]) -> Document:
    expires_us = paper.get("expires_us")
    return Document(
        paper["kind"],
        paper["key"],
        folded(paper["body"]),
        int(paper["revision"]),
        int(paper["changed_us"]),
        None if expires_us is None else int(expires_us),
    )


def _content(document: Document) -> str:
    body = unfolded(document.body)
    members = {"kind": to_text(document.kind), "key": to_text(document.key)}
    members["body"] = on_lines(body, "  ") if isinstance(body, dict) else to_text(body)
    readable = {"changed": instant_text(document.changed_us)}
    members |= {"revision": str(document.revision), "changed_us": str(document.changed_us)}
    if document.expires_us is not None:
        members["expires_us"] = str(document.expires_us)
        readable["expires"] = instant_text(document.expires_us)
    members["readable"] = on_lines(readable, "  ")
    joined = ",\n".join(f'  "{name}": {text}' for name, text in members.items())
    return f"{{\n{joined}\n}}\n"
