"""Documents as stores keep them beside tasks and runs: small texts that somebody finds by a key.

What they say is no matter of the store's. It compares revisions, so that of several who change the
same document each knows what the others made of it, and it forgets what has expired.
"""

from dataclasses import dataclass

from tickwork.errors import InvalidInputError
from tickwork.model.standard import is_unicode

__all__ = ["LONGEST_KEY", "LONGEST_KIND", "Document", "DocumentQuery", "check_place", "revision_of"]

LONGEST_KIND = 64
LONGEST_KEY = 191


@dataclass(frozen=True, slots=True)
class Document:
    """A text under a key, unique among those of its kind.

    `body` is JSON text, which the store doesn't look into. It sets `revision`, which is 1 at first
    and grows by one with each change, and `changed_us`, when that was; what stands there when a
    document is written doesn't matter. From `expires_us` on there is no such document any more, by
    the store's clock; one that is kept then begins anew.
    """

    kind: str
    key: str
    body: str
    revision: int = 0
    changed_us: int = 0
    expires_us: int | None = None

    def __post_init__(self) -> None:
        check_place(self.kind, self.key)
        if not _is_text(self.body):
            raise InvalidInputError(f"body={self.body!r:.50} must be JSON text")


@dataclass(frozen=True, slots=True)
class DocumentQuery:
    """Which documents of a kind to list: in the order of their keys, by code points.

    `after` and `before` are keys between which theirs must lie; neither need be there. With
    `newest_first` the last key comes first, which is the newest one where keys begin with the time.
    """

    kind: str
    key: str | None = None
    after: str | None = None
    before: str | None = None
    newest_first: bool = False
    limit: int = 100

    def __post_init__(self) -> None:
        _check("kind", self.kind, LONGEST_KIND)
        for name in ("key", "after", "before"):
            word = getattr(self, name)
            if word is not None and not _is_text(word):
                raise InvalidInputError(f"{name}={word!r:.50} must be a text without NUL")
        if self.limit < 0:
            raise InvalidInputError(f"limit={self.limit!r} must be at least 0")


def check_place(kind: str, key: str) -> None:
    """Raise InvalidInputError unless there can be a document of this kind with this key."""
    _check("kind", kind, LONGEST_KIND)
    _check("key", key, LONGEST_KEY)


def revision_of(document: Document | None, now_us: int) -> int:
    """Return the revision to compare with what is expected: 0 where there is no document (more)."""
    if document is None or (document.expires_us is not None and document.expires_us <= now_us):
        return 0
    return document.revision


def _check(name: str, word: str, longest: int) -> None:
    if not _is_text(word) or not 0 < len(word) <= longest:
        raise InvalidInputError(
            f"{name}={word!r:.50} must be a text of 1 to {longest} characters without NUL"
        )


def _is_text(word: object) -> bool:
    return isinstance(word, str) and "\0" not in word and is_unicode(word)
