"""Nodes, stores, locks, users, tokens and the audit log."""

import json

from tests.cli.conftest import Tickwork
from tickwork.coordination import Lock
from tickwork.testing import ManualClock, SteppedScheduler

PASSWORD = "correct horse battery\n"  # noqa: S105  of a user who is none
LISTS = ["nodes", "stores", "executors", "locks", "functions", "audit"]


def test_what_is_not_there_is_said(tickwork: Tickwork, store: str) -> None:
    said = {name: tickwork(name, "--store", store).out for name in LISTS}
    assert said == {
        "nodes": "No scheduler works here.\n",
        "stores": (
            "STORE    KIND        KEPT      TASKS\n"
            "default  sqlalchemy  for good  3 scheduled, 1 paused\n"
        ),
        "executors": "No scheduler works here, so there are no executors.\n",
        "locks": "No locks and no leaders.\n",
        "functions": ("A store is worked on from here: any function that can be imported here.\n"),
        "audit": "Nothing was done.\n",
    }


def test_schedulers_and_their_locks_are_listed(
    tickwork: Tickwork, store: str, clock: ManualClock
) -> None:
    with SteppedScheduler(store, clock=clock) as scheduler, Lock("import", scheduler=scheduler):
        scheduler.step()
        lines = tickwork("nodes", "--store", store).out.splitlines()
        locks = json.loads(tickwork("locks", "--store", store, "--json").out)
        executors = json.loads(tickwork("executors", "--store", store, "--json").out)
        (node,) = json.loads(tickwork("nodes", "--store", store, "--json").out)
    assert [line.split()[:2] for line in lines] == [["NODE", "STATE"], [node["id"], "alive"]]
    assert [(each["name"], each["kind"], each["held"]) for each in locks] == [
        ("import", "lock", True)
    ]
    assert {each["name"] for each in executors} >= {"asyncio", "threadpool"}
    assert all(node["id"] in each["nodes"] for each in executors)


def test_users_and_tokens_are_made_changed_and_removed(tickwork: Tickwork, store: str) -> None:
    where = ("--store", store)
    assert tickwork("users", "add", "ada", "--role", "admin", *where).exit_code == 2
    said = tickwork("users", "add", "ada", "--role", "admin", *where, given=PASSWORD)
    assert said == (0, "ada is added, with the role admin.\n", "")
    tickwork("users", "add", "bob", *where, given=PASSWORD)
    said = tickwork("users", "change", "bob", "--disable", "--role", "operator", *where)
    assert said.out == "bob is changed, with the role operator, and disabled.\n"
    assert tickwork("users", "list", *where).out == (
        "NAME  ROLE      STATE     CREATED\n"
        "ada   admin     enabled   2026-11-23 10:00:00 +01:00\n"
        "bob   operator  disabled  2026-11-23 10:00:00 +01:00\n"
    )
    assert tickwork("users", "change", "ada", "--disable", *where).exit_code == 4
    assert tickwork("users", "change", "ada", *where).exit_code == 2

    made = json.loads(
        tickwork("tokens", "add", "ci", "--user", "ada", "--expires", "90d", *where, "--json").out
    )
    assert (made["user"], made["role"], made["token"][:3]) == ("ada", "admin", "tw_")
    assert made["expires_at"] == "2027-02-21T09:00:00Z"
    (listed,) = json.loads(tickwork("tokens", "list", *where, "--json").out)
    assert (listed["id"], "token" in listed) == (made["id"], False)
    assert tickwork("tokens", "add", "ci", "--user", "eve", *where).exit_code == 3
    assert tickwork("tokens", "add", "ci", *where).exit_code == 2
    assert tickwork("tokens", "revoke", made["id"], *where).exit_code == 0
    assert tickwork("tokens", "list", *where).out == "No tokens.\n"
    assert tickwork("users", "remove", "bob", *where).exit_code == 2
    assert tickwork("users", "remove", "bob", *where, "--yes").exit_code == 0
    assert [u["name"] for u in json.loads(tickwork("users", "list", *where, "--json").out)] == [
        "ada"
    ]


def test_what_is_done_here_stands_in_the_audit_log(
    tickwork: Tickwork, store: str, clock: ManualClock
) -> None:
    where = ("--store", store)
    tickwork("pause", "greet", "--reason", "holiday", *where)
    clock.advance(minutes=1)
    tickwork("cancel", "nope", *where)
    tickwork("trigger", "greet", *where)
    clock.advance(minutes=1)
    tickwork("remove", "greet", "--yes", *where)
    entries = json.loads(tickwork("audit", *where, "--json").out)
    told = [(each["action"], each["target"], each["outcome"], each["via"]) for each in entries]
    assert told == [
        ("tasks.remove", "greet", "done", "cli"),
        ("tasks.run", "greet", "done", "cli"),
        ("tasks.pause", "greet", "done", "cli"),
    ]
    assert entries[2]["after"]["reason"] == "holiday"
    # What might be a secret is not written there.
    assert entries[0]["before"]["args"] == ["(hidden)"]
    words = ("audit", "--action", "tasks.pause", "--limit", "5")
    assert len(tickwork(*words, *where).out.splitlines()) == 2
    assert tickwork("audit", "--action", "tasks.edit", *where).exit_code == 2
