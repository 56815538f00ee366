"""Documents: kept under keys, changed by whoever knows their revision, gone when they expire."""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

from tickwork.errors import InvalidInputError
from tickwork.interfaces import Keeping, Store
from tickwork.model.keeping import Document, DocumentQuery
from tickwork.model.steps import PruneRequest
from tickwork.testing.store_contract.bench import T0, Bench, raised
from tickwork.testing.store_contract.case import StoreCase, patiently

__all__ = ["KeepingContract"]

_ROUNDS = 25
_ODD = [
    *("a", "A", "a ", " a", "ä", "é", "z", "ß", "日本", "\U0001f600", "\uffee", "a/b", "..", "%"),
    *("_", "\n", "\x01", "{}", "'", '"', "\\", "con", "a.json", "k" * 191, "é" * 191),
]


def _keeping(store: Store) -> Keeping:
    assert isinstance(store, Keeping), "this store keeps no documents"
    return store


def _keep(
    bench: Bench,
    key: str = "key",
    body: str = "{}",
    *,
    expected: int | None = None,
    expires_us: int | None = None,
    kind: str = "note",
) -> int | None:
    document = Document(kind, key, body, expires_us=expires_us)
    return _keeping(bench.store).keep(document, expected)


def _forget(bench: Bench, key: str = "key", expected: int | None = None) -> bool:
    return _keeping(bench.store).forget("note", key, expected)


def _all(bench: Bench, kind: str = "note") -> list[Document]:
    return _keeping(bench.second).documents(DocumentQuery(kind, limit=1_000))


def _found(bench: Bench, **query: object) -> list[str]:
    asked = DocumentQuery("note", **query)  # type: ignore[arg-type]
    return [each.key for each in _keeping(bench.second).documents(asked)]


def _prune(bench: Bench, limit: int = 1_000) -> None:
    bench.store.prune(PruneRequest({}, 0, limit, now_us=bench.now_us))


class KeepingContract(StoreCase):
    """The contract of `tickwork.interfaces.Keeping`."""

    def test_a_document_is_kept_as_it_is(self) -> None:
        """With its first revision, and when that was made; whatever else its writer said."""
        with self.bench() as bench:
            assert _all(bench) == []
            body = '{"b": [1.50, "ä\\u0000\\n"],\n "a": "%s \U0001f600"}'
            document = Document("note", "key", body, 17, 18, T0 + 5)
            assert _keeping(bench.store).keep(document) == 1
            assert _all(bench) == [Document("note", "key", body, 1, T0, T0 + 5)]

    def test_bodies_come_back_to_the_letter(self) -> None:
        """JSON or not, short or long."""
        bodies = [
            *("", "{}", "null", " 1 ", "1.0", '"x"', "no JSON", '{"a":1,"a":2}', '{"a":1}', "NaN"),
            *('{"a": 1}\n', "1e400", "[" * 2_000, '"' + "ä" * 100_000 + '"', "9" * 30),
        ]
        with self.bench() as bench:
            for number, body in enumerate(bodies):
                assert _keep(bench, f"{number:02}", body) == 1
            assert [each.body for each in _all(bench)] == bodies

    def test_each_change_has_the_next_revision(self) -> None:
        """And its own time."""
        with self.bench() as bench:
            revisions = []
            for number in range(4):
                revisions.append(_keep(bench, body=str(number)))
                bench.now_us += 10
            assert revisions == [1, 2, 3, 4]
            assert _all(bench) == [Document("note", "key", "3", 4, T0 + 30)]

    def test_only_who_knows_the_revision_changes_it(self) -> None:
        """All others are told, and nothing is changed."""
        with self.bench() as bench:
            assert _keep(bench, body="1", expected=1) is None
            assert _all(bench) == []
            assert _keep(bench, body="2", expected=0) == 1
            for wrong in (0, 2, 3, 10**15):
                bench.now_us += 1
                assert _keep(bench, body="3", expected=wrong) is None
            assert _all(bench) == [Document("note", "key", "2", 1, T0)]
            assert _keep(bench, body="4", expected=1) == 2
            assert _keep(bench, body="5", expected=1) is None
            assert _keep(bench, body="6", expected=2) == 3

    def test_a_document_that_is_forgotten_is_gone(self) -> None:
        """For who knows the revision, or doesn't care; one kept after that begins anew."""
        with self.bench() as bench:
            assert not _forget(bench)
            assert not _forget(bench, expected=0)
            _keep(bench)
            _keep(bench)
            for wrong in (0, 1, 3):
                assert not _forget(bench, expected=wrong)
            assert len(_all(bench)) == 1
            assert _forget(bench, expected=2)
            assert _all(bench) == []
            assert not _forget(bench, expected=2)
            assert _keep(bench, expected=2) is None
            assert _keep(bench, expected=0) == 1
            assert _forget(bench)
            assert not _forget(bench)

    def test_kinds_and_keys_are_compared_to_the_letter(self) -> None:
        """Also those that differ in case, in blanks, or in what a file can't be named."""
        with self.bench() as bench:
            kinds = [each for each in _ODD if len(each) <= 64] + ["k" * 64]
            for kind in kinds:
                assert _keep(bench, "x", kind, kind=kind, expected=0) == 1
            for key in _ODD:
                assert _keep(bench, key, key, expected=0) == 1
            assert [(each.key, each.body) for each in _all(bench)] == [
                (key, key) for key in sorted(_ODD)
            ]
            for kind in kinds:
                assert _all(bench, kind) == [Document(kind, "x", kind, 1, T0)]
            for key in _ODD:
                assert _found(bench, key=key) == [key]
                assert _forget(bench, key)
            assert _all(bench) == []
            assert len(_all(bench, "a")) == 1

    def test_pages_of_documents(self) -> None:
        """Between bounds that are themselves no part of it, either way."""
        with self.bench() as bench:
            keys = sorted(_ODD)
            for key in reversed(keys):
                _keep(bench, key)
            assert _found(bench) == keys
            assert _found(bench, newest_first=True) == keys[::-1]
            for low, high in pairwise(range(0, len(keys), 3)):
                assert _found(bench, after=keys[low], before=keys[high]) == keys[low + 1 : high]
            assert _found(bench, after="a", before="a") == []
            assert _found(bench, after="b", before="a") == []
            assert _found(bench, after="zz", limit=1) == [keys[keys.index("z") + 1]]
            assert _found(bench, before="zz", limit=2, newest_first=True) == [
                "z", keys[keys.index("z") - 1]
            ]  # fmt: skip
            assert _found(bench, key="a", after="a") == []
            assert _found(bench, key="a", after="A", before="b") == ["a"]
            assert _found(bench, key="b") == []
            assert _found(bench, limit=0) == []

    def test_pages_of_documents_put_together_are_the_whole(self) -> None:
        """Also while others come and go."""
        with self.bench() as bench:
            keys = [f"{number:04}" for number in range(240)]
            for key in keys:
                _keep(bench, key)
            assert self._walked(bench, 7, newest_first=False) == keys
            assert self._walked(bench, 7, newest_first=True) == keys[::-1]

    @staticmethod
    def _walked(bench: Bench, limit: int, *, newest_first: bool) -> list[str]:
        """Go from page to page, while documents are added behind and before, and removed."""
        found: list[str] = []
        edge: str | None = None
        other = 0
        while True:
            bounds = {"before" if newest_first else "after": edge}
            page = _found(bench, limit=limit, newest_first=newest_first, **bounds)
            found += page
            if not page:
                return [key for key in found if "x" not in key]
            edge, other = page[-1], other + 53
            _keep(bench, f"{other % 240:04}x")
            _forget(bench, f"{(other - 53) % 240:04}x")

    def test_an_expired_document_is_absent(self) -> None:
        """From its instant on, by the store's clock, whether it was pruned or not."""
        with self.bench() as bench:
            _keep(bench, body="1")
            assert _keep(bench, body="2", expires_us=T0 + 10) == 2
            _keep(bench, "other")
            bench.now_us = T0 + 9
            assert _found(bench) == ["key", "other"]
            assert _found(bench, limit=1) == ["key"]
            bench.now_us = T0 + 10
            assert _found(bench, limit=1) == ["other"]
            assert _found(bench, key="key") == []
            assert not _forget(bench)
            assert not _forget(bench, expected=2)
            assert _keep(bench, body="3", expected=2) is None
            assert _keep(bench, body="4", expected=0) == 1
            assert _all(bench)[0] == Document("note", "key", "4", 1, T0 + 10)
            assert _keep(bench, body="5", expires_us=T0 + 11) == 2
            bench.now_us = T0 + 11
            assert _keep(bench, body="6") == 1

    def test_expiry_is_what_the_last_writer_said(self) -> None:
        """Later, earlier, or never."""
        with self.bench() as bench:
            _keep(bench, expires_us=T0 + 10)
            _keep(bench, expires_us=T0 + 20)
            _keep(bench, "never", expires_us=T0 + 10)
            _keep(bench, "never")
            bench.now_us = T0 + 19
            _prune(bench)
            assert _found(bench) == ["key", "never"]
            _keep(bench, expires_us=T0 + 5)
            assert _found(bench) == ["never"]
            bench.now_us = T0 + 1_000
            _prune(bench)
            assert _found(bench) == ["never"]

    def test_pruning_removes_what_has_expired(self) -> None:
        """No more at once than it may, and nothing else."""
        with self.bench() as bench:
            for number in range(6):
                _keep(bench, f"{number}", expires_us=T0 + 10 + number)
            _keep(bench, "lasting")
            _keep(bench, "0", kind="other", expires_us=T0 + 1_000)
            for left in (4, 2, 1, 1):
                bench.now_us = T0 + 14
                _prune(bench, limit=2)
                # What was only hidden would be there again.
                bench.now_us = T0
                assert len(_found(bench)) == left + 1
            assert _found(bench) == ["5", "lasting"]
            assert len(_all(bench, "other")) == 1

    def test_pruning_goes_by_the_stores_clock(self) -> None:
        """Who asks for it may be ahead of it."""
        with self.bench() as bench:
            _keep(bench, expires_us=T0 + 10)
            bench.store.prune(PruneRequest({}, 0, now_us=T0 + 10))
            assert _found(bench) == ["key"]

    def test_of_several_who_expect_the_same_one_succeeds(self) -> None:
        """Four threads on two clients, 25 keys that aren't there yet, and then their revisions."""
        with self.bench() as bench:
            won: Counter[tuple[str, int]] = Counter()

            def work(store: Store, node: str) -> None:
                for expected in (0, 1, 2):
                    for number in range(_ROUNDS):
                        document = Document("note", f"{number:02}", f'"{node}"')
                        if _kept(store, document, expected) is not None:
                            won[document.key, expected] += 1
                        _until(store, document.key, expected + 1)

            self.at_once(bench, work)
            assert len(won) == 3 * _ROUNDS
            assert set(won.values()) == {1}
            assert {each.revision for each in _all(bench)} == {3}

    def test_changes_of_several_are_all_counted(self) -> None:
        """Each adds one to the number that it read; none is lost."""
        with self.bench() as bench:
            _keep(bench, body="0")

            def work(store: Store, _: str) -> None:
                done = 0
                while done < _ROUNDS:
                    [found] = _keeping(store).documents(DocumentQuery("note", "key"))
                    more = Document("note", "key", str(int(found.body) + 1))
                    done += _kept(store, more, found.revision) is not None

            self.at_once(bench, work)
            [counted] = _all(bench)
            assert (counted.body, counted.revision) == (str(4 * _ROUNDS), 4 * _ROUNDS + 1)

    def test_unconditional_changes_have_revisions_of_their_own(self) -> None:
        """Whoever writes: each is told another one."""
        with self.bench() as bench:
            told: list[int | None] = []

            def work(store: Store, node: str) -> None:
                mine = Document("note", "key", f'"{node}"')
                told.extend(_kept(store, mine) for _ in range(_ROUNDS))

            self.at_once(bench, work)
            assert sorted(each or 0 for each in told) == list(range(1, 4 * _ROUNDS + 1))

    def test_documents_that_make_no_sense_are_refused(self) -> None:
        """With what to do instead."""
        text = "must be a text of 1 to"
        cases: list[tuple[Callable[[], object], str]] = [
            (lambda: Document("", "k", ""), f"kind='' {text} 64 characters without NUL"),
            (lambda: Document("k", "", ""), f"key='' {text} 191 characters without NUL"),
            (lambda: Document("k", "x" * 192, ""), f"{text} 191 characters without NUL"),
            (lambda: Document("k", "\0", ""), f"{text} 191 characters without NUL"),
            (lambda: Document("k", "\ud800", ""), f"{text} 191 characters without NUL"),
            (lambda: Document("k", "x", "\0"), "body='\\x00' must be JSON text"),
            (lambda: DocumentQuery("k", after="\0"), "after='\\x00' must be a text without NUL"),
            (lambda: DocumentQuery("k", limit=-1), "limit=-1 must be at least 0"),
        ]
        for make, expected in cases:
            assert expected in raised(InvalidInputError, make)
        with self.bench() as bench:
            message = raised(InvalidInputError, lambda: _forget(bench, ""))
            assert message == f"key='' {text} 191 characters without NUL"


def _kept(store: Store, document: Document, expected: int | None = None) -> int | None:
    return patiently(lambda: _keeping(store).keep(document, expected))


def _until(store: Store, key: str, revision: int) -> None:
    """See that a document has come so far, as it must have when one's own attempt is over."""
    [found] = _keeping(store).documents(DocumentQuery("note", key))
    assert found.revision >= revision
