"""What stands where, and that nothing is left where it doesn't belong."""

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from tests.unit.stores.redis_place import Place, orders_of, placed
from tickwork.errors import StoreUnavailableError, UnreadableRecordError
from tickwork.interfaces import Keeping
from tickwork.model.definition import Unreadable
from tickwork.model.keeping import Document, DocumentQuery
from tickwork.model.locks import LockRequest
from tickwork.model.policies import RunState, ScheduleState
from tickwork.model.records import NodeRecord
from tickwork.model.steps import Edit, PruneRequest, Verdict
from tickwork.stores.redis.layout import (
    KEYS,
    from_word,
    id_entry,
    id_of,
    instant_of,
    instant_word,
    key_names,
    rank_word,
    scattered,
    word,
)
from tickwork.testing.store_contract.bench import (
    LEASE_US,
    MINUTE,
    NODE,
    OTHER,
    T0,
    decide_never,
    finished,
    given_back,
    moves_on,
    pending,
    queued,
    removed,
    runs_now,
    task,
)

_RANKS = st.integers(-1_000_000_000, 1_000_000_000)
_INSTANTS = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)


@pytest.fixture
def place(redis_url: str) -> Iterator[Place]:
    with placed(redis_url) as place:
        place.bench.open()
        yield place


def _live(place: Place) -> None:
    """Do a bit of everything; leave all kinds of tasks and runs behind."""
    bench = place.bench
    bench.register(NODE, OTHER, "dead", lease_us=LEASE_US)
    decorated = task("decorated", None, decorated=True)
    bench.put(task("once", disposable=True), task("odd:\n{}"), task("taken"), decorated)
    leased = {each.run.task_id: each.run for each in bench.plan(node="dead").leased}
    bench.finish(finished(leased["once"]), given_back(leased["odd:\n{}"], T0 + 9))
    bench.put(task("busy", max_instances=2))
    runs = [pending(T0), pending(T0 + 1), queued(T0 + 2), queued(T0 + 3)]
    bench.plan(moves_on(*runs, next_us=T0 + MINUTE), capacity={"threadpool": 1})
    bench.edit(runs_now(pending(None), queued(T0 + 4)), "decorated")
    bench.now_us += LEASE_US
    for node in (NODE, OTHER):
        bench.store.beat(NodeRecord(id=node, beat_us=T0), LEASE_US)
    bench.recover(lambda *_: Verdict(RunState.PENDING, 1, suspect=True))
    bench.edit(lambda record: Edit(replace(record, state=ScheduleState.PAUSED)), "taken")
    _submit(place)
    for name, label_us in (("held", None), ("odd:\n{}", T0)):
        request = LockRequest(name, "odd:\n{}", LEASE_US, label_us=label_us, keep_us=MINUTE)
        bench.store.acquire_lock(request)  # type: ignore[attr-defined]
    bench.store.renew_lock("odd:\n{}", "odd:\n{}", 0)  # type: ignore[attr-defined]
    _keep(place)


def _keep(place: Place) -> None:
    """Leave documents that expire, that don't any more, and traces of none that are gone."""
    store, odd = place.bench.store, "odd:\n{}"
    assert isinstance(store, Keeping)
    for key, *expiries in (("a", None), (odd, T0, T0 + 9), ("b", T0, None), ("c", None, T0 + 9)):
        for expires_us in expiries:
            store.keep(Document(odd, key, "{}", expires_us=expires_us))
    for key, expires_us in (("d", None), ("e", T0 + MINUTE)):
        store.keep(Document(odd, key, "{}", expires_us=expires_us))
        store.forget(odd, key)


def _submit(place: Place) -> None:
    """Leave all kinds of runs without a task behind."""
    bench = place.bench
    ended, lingering, asked = (bench.submit(rank=-9) for _ in range(3))
    reply = bench.lease(capacity={"threadpool": 3}, suspects=False)
    leased = {each.run.id: each.run for each in reply.leased}
    late = finished(leased[lingering.id], RunState.TIMEOUT, expires_us=T0)
    bench.cancel(asked, lingering)
    bench.finish(finished(leased[ended.id], expires_us=T0), late._replace(lingers=True))
    for rank in (-5, 0, 5):
        for key in (None, "odd:\n{}"):
            bench.submit(concurrency_key=key, rank=rank)
    bench.put(task("keyed", concurrency_key="odd:\n{}", priority=2), task("ranked", priority=-2))
    bench.plan(moves_on(queued(T0 + 4)), capacity={})


def test_orders_are_those_of_the_records(place: Place) -> None:
    _live(place)
    found, expected = orders_of(place)
    assert found == expected
    # Nothing that this was to look at was absent.
    empty = {name for name, entries in found.items() if not entries}
    assert empty == set()


def test_all_keys_are_in_one_slot_and_known(place: Place) -> None:
    _live(place)
    assert place.left() == set(KEYS) - {"epochs"}
    names = place.client.scan_iter(match=f"{{{place.prefix}}}*")
    assert len({key_slot(name.encode()) for name in names}) == 1
    hints = f"{{{place.prefix}}}:hints", f"{{{place.prefix}}}:step:x"
    assert {key_slot(each.encode()) for each in (*hints, *key_names(place.prefix))} == {
        key_slot(place.prefix.encode())
    }


def test_nothing_is_left_of_what_is_gone(place: Place) -> None:
    bench = place.bench
    _live(place)
    bench.edit(removed("gone"), *bench.dump().tasks)
    bench.recover(held=frozenset())
    bench.recover(node=OTHER, held=frozenset())
    bench.cancel(*bench.runs())
    for node in (NODE, OTHER):
        bench.store.beat(NodeRecord(id=node, beat_us=T0), LEASE_US, leaving=True)
    bench.now_us = T0 + 100 * MINUTE
    assert isinstance(bench.store, Keeping)
    assert all(bench.store.forget("odd:\n{}", key) for key in "ab")
    assert bench.store.prune(PruneRequest({}, bench.now_us, now_us=bench.now_us)) > 0
    assert bench.dump() == ({}, {}, {})
    assert place.left() == {"changes", "counts", "fence"}
    assert set(place.client.hvals(place.keys["counts"])) == {"0"}


def test_labels_follow_definitions(place: Place) -> None:
    bench = place.bench
    bench.put(task(decorated=True))
    labels = place.keys["labels"]
    assert place.client.zrange(labels, 0, -1) == ["declared_in\nshop.jobs\ntask"]
    moved = task(decorated=True, function="other:f").definition
    bench.edit(lambda record: Edit(replace(record, definition=moved)))
    assert place.client.zrange(labels, 0, -1) == ["declared_in\nother\ntask"]
    plain = task().definition
    bench.edit(lambda record: Edit(replace(record, definition=plain)))
    assert place.client.zrange(labels, 0, -1) == []


def test_every_script_is_shipped() -> None:
    names = {each.name for each in (files("tickwork.stores.redis") / "scripts").iterdir()}
    assert names == {
        f"{name}.lua"
        for name in (
            *("beat", "commit", "common", "counts", "due", "eligible", "gates", "lease"),
            *("lengths", "nodes", "over", "page", "read"),
            *("acquire", "forget", "locking", "locks", "renew"),
            *("documents", "drop", "expire", "keep", "keeping"),
            *("lasts", "runs"),
        )
    }


# --- damaged rows ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    ["", "nonsense", "1 2 3 4\nnot json", "1 2 3 4\n1],[2", "1 2\n[]", '1 2 3 4\n{"state":"x"}'],
)
def test_a_task_that_is_damaged_stops_only_itself(place: Place, damage: str) -> None:
    bench = place.bench
    bench.put(task("a", T0 - 2), task("bad", T0 - 1), task("c"))
    place.client.hset(place.keys["tasks"], "bad", damage)
    reply = bench.plan()
    assert [each.run.task_id for each in reply.leased] == ["a", "c"]
    assert [name for name, _ in reply.deferred] == ["bad"]
    assert place.client.hget(place.keys["tasks"], "bad") == damage
    if damage:
        assert bench.task("bad").state is ScheduleState.PAUSED
        assert list(bench.dump().tasks) == ["a", "bad", "c"]
        assert bench.edit(decide_never, "bad")[0].task is None
        with pytest.raises(UnreadableRecordError, match="can't understand"):
            bench.put(task("bad"))
        assert place.client.hget(place.keys["tasks"], "bad") == damage


@pytest.mark.parametrize(("place_of", "value"), [(12, 5), (13, None), (17, 1)])
def test_a_task_whose_words_are_none_stops_only_itself(
    place: Place, place_of: int, value: object
) -> None:
    bench, tasks = place.bench, place.keys["tasks"]
    bench.put(task("a"), task("bad"))
    head, _, body = place.client.hget(tasks, "bad").partition("\n")
    said = json.loads(body)
    said[place_of] = value
    place.client.hset(tasks, "bad", f"{head}\n{json.dumps(said)}")
    reply = bench.plan()
    assert [each.run.task_id for each in reply.leased] == ["a"]
    assert [name for name, _ in reply.deferred] == ["bad"]


@pytest.mark.parametrize("digits", [[], ['"],["'], ["", "of a later version"]])
def test_what_other_versions_say_of_a_task_is_understood(place: Place, digits: list[str]) -> None:
    bench, tasks = place.bench, place.keys["tasks"]
    bench.put(task("task"))
    head, _, body = place.client.hget(tasks, "task").partition("\n")
    place.client.hset(tasks, "task", f"{head}\n{json.dumps([*json.loads(body)[:-1], *digits])}")
    [leased] = bench.plan(moves_on(pending(T0), next_us=T0)).leased
    bench.finish(finished(leased.run))
    assert bench.task().made == 1
    assert json.loads(place.client.hget(tasks, "task").partition("\n")[2])[-1].isalnum()


def test_a_task_of_which_nobody_counted_the_runs_is_understood(place: Place) -> None:
    bench, tasks = place.bench, place.keys["tasks"]
    bench.put(task("task"))
    head, _, body = place.client.hget(tasks, "task").partition("\n")
    place.client.hset(tasks, "task", f"{head}\n{json.dumps(json.loads(body)[:15])}")
    bench.plan()
    assert bench.task().made == 1


@pytest.mark.parametrize(
    "damage", ["nonsense", "0 A 0 2001767225600000000\nnot json", "0 A 0 2001767225600000000\n{}"]
)
def test_a_run_that_is_damaged_stops_only_itself(place: Place, damage: str) -> None:
    bench = place.bench
    bench.put(task("a"), task("bad"))
    bench.plan(capacity={})
    [bad] = bench.runs("bad")
    place.client.hset(place.keys["runs"], bad.id, damage)
    assert [each.run.task_id for each in bench.lease().leased] == ["a"]
    assert bench.lease() == ((), None, ())
    assert bench.run(bad.id).reason == "what is kept of it can't be understood; its row is kept"
    assert bench.store.prune(PruneRequest({"bad": 0}, T0 + MINUTE)) == 0


# --- words -------------------------------------------------------------------------------------


@given(st.text(), st.text())
def test_words_are_lines_of_their_own(one: str, other: str) -> None:
    try:
        one.encode()
        other.encode()
    except UnicodeEncodeError:
        return
    assert from_word(word(one)) == one
    assert not set(word(one)) & {chr(code) for code in range(32)}
    assert (word(one) == word(other)) == (one == other)


@given(st.text(max_size=5), st.text(max_size=5))
def test_ids_keep_their_order(one: str, other: str) -> None:
    entries = id_entry(one), id_entry(other)
    assert list(map(id_of, entries)) == [one, other]
    assert (entries[0] < entries[1]) == (one < other)
    assert not set("".join(entries)) & {"\n", "\x1e"}


@given(_INSTANTS, _INSTANTS)
def test_instants_sort_as_texts(one: int, other: int) -> None:
    assert instant_of(instant_word(one)) == one
    assert (instant_word(one) < instant_word(other)) == (one < other)


@given(_RANKS, _RANKS)
def test_ranks_sort_as_texts(one: int, other: int) -> None:
    assert (rank_word(one) < rank_word(other)) == (one < other)
    # Where there is none, an instant stands; ranks lie on both sides of all of these.
    assert (rank_word(one) < instant_word(other)) == (one <= 0)


@pytest.mark.parametrize("offset", range(8))
def test_records_that_differ_in_a_number_are_told_apart_by_few_letters(offset: int) -> None:
    # Lua looks at every eighth letter of a text as long as a record is.
    ends = {scattered(f"once-{number}")[offset::8] for number in range(1_000)}
    assert len(ends) > 700


def test_a_change_whose_texts_cant_be_told_apart_is_refused(place: Place) -> None:
    bench = place.bench
    odd = Unreadable("one\x1etwo", "a definition of version 99")
    with pytest.raises(StoreUnavailableError, match="a text has a separator in it"):
        bench.put(task("a"), task("odd", definition=odd))
    assert place.left() <= {"nodes"}


def test_a_document_that_cant_be_understood_is_kept(place: Place) -> None:
    store = place.bench.store
    assert isinstance(store, Keeping)
    for key in "abc":
        store.keep(Document("note", key, "{}"))
    place.client.hset(place.keys["documents"], "note\nb", "of a later version")
    assert [each.key for each in store.documents(DocumentQuery("note"))] == ["a", "c"]
    with pytest.raises(UnreadableRecordError, match="'b' of the kind 'note' can't be changed"):
        store.keep(Document("note", "b", "{}"))
    with pytest.raises(UnreadableRecordError, match="of a later version"):
        store.forget("note", "b", 1)
    assert place.client.hget(place.keys["documents"], "note\nb") == "of a later version"
