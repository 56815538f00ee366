"""Who came in, who was refused and who left stands in the audit log, by whatever way they came."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import PASSWORD, Site, opened
from tests.service.dashboard.browsing import browser_of
from tickwork.service.actors import Via, nobody
from tickwork.service.errors import AccessDeniedError
from tickwork.service.roles import Action, Role

NEW = "another horse battery"
WRONG = "hunter2 is no password"

Enter = Callable[[Site, str, str], int]


def by_rest(site: Site, name: str, password: str) -> int:
    answer = site.client().post("session", json={"name": name, "password": password})
    return {201: 303}.get(answer.status_code, answer.status_code)


def by_page(site: Site, name: str, password: str) -> int:
    browser = browser_of(site)
    form = browser.get("/login").form("/login")
    answer = browser.http.post(
        form.action, data={**form.fields, "name": name, "password": password}
    )
    return answer.status_code


WAYS = [("rest", by_rest), ("ui", by_page)]


def entries(site: Site) -> list[dict[str, Any]]:
    """Return the audit log, the oldest first, as an admin's program reads it."""
    answer = site.with_token(Role.ADMIN, "admin").get("audit")
    found: list[dict[str, Any]] = answer.json()["items"]
    return found[::-1]


def told(site: Site) -> list[tuple[str, str, str, str]]:
    return [(e["actor"], e["action"], e["target"], e["outcome"]) for e in entries(site)]


@pytest.mark.parametrize(("via", "enter"), WAYS)
def test_who_logs_in_is_recorded_with_role_and_address(
    tmp_path: Path, via: str, enter: Enter
) -> None:
    with opened(tmp_path, auth="password") as site:
        site.create_users()
        assert enter(site, "operator", PASSWORD) == 303
        [entry] = entries(site)
    assert (entry["actor"], entry["role"], entry["target"]) == ("operator", "operator", "operator")
    assert (entry["action"], entry["outcome"]) == ("sessions.login", "done")
    assert (entry["via"], entry["address"]) == (via, "testclient")
    assert (entry["before"], entry["after"], entry["error"]) == (None, None, None)


@pytest.mark.parametrize(("via", "enter"), WAYS)
def test_who_is_refused_is_recorded_without_what_they_typed(
    tmp_path: Path, via: str, enter: Enter
) -> None:
    with opened(tmp_path, auth="password") as site:
        site.create_users()
        assert enter(site, "viewer", WRONG) == 401
        # A password in the wrong field is nobody's name.
        assert enter(site, PASSWORD, "x") == 401
        known, unknown = entries(site)
        kept = site.with_token(Role.ADMIN, "admin").get("audit").text
    refused = {"actor": "nobody", "role": None, "via": via, "outcome": "refused"}
    assert {name: known[name] for name in refused} == refused
    assert {name: unknown[name] for name in refused} == refused
    assert (known["target"], unknown["target"]) == ("viewer", "(unknown)")
    assert known["error"].startswith("UnauthenticatedError: there is no such user")
    assert PASSWORD not in kept
    assert WRONG not in kept


@pytest.mark.parametrize(("via", "enter"), WAYS)
def test_who_tries_too_often_is_recorded_once(tmp_path: Path, via: str, enter: Enter) -> None:
    limits = {"login_attempts": 2, "login_window": 60}
    with opened(tmp_path, auth="password", **limits) as site:
        site.create_users()
        statuses = [enter(site, "viewer", WRONG) for _ in range(6)]
        site.scheduler.advance(seconds=60)
        statuses += [enter(site, "viewer", WRONG) for _ in range(4)]
        outcomes = [(entry["outcome"], entry["via"]) for entry in entries(site)]
    assert statuses == [401, 401, 429, 429, 429, 429, 401, 401, 429, 429]
    assert outcomes == [("refused", via), ("refused", via), ("throttled", via)] * 2


def test_an_address_that_tries_many_names_leaves_a_bounded_number_of_entries(
    tmp_path: Path,
) -> None:
    with opened(tmp_path, auth="password", login_attempts=1) as site:
        site.create_users()
        for number in range(30):
            by_rest(site, f"name{number}", "x")
        assert [entry["outcome"] for entry in entries(site)] == ["refused"] * 10 + ["throttled"]


def test_logging_out_is_recorded_by_both_ways(tmp_path: Path) -> None:
    with opened(tmp_path, auth="password") as site:
        site.create_users()
        assert site.logged_in("viewer").delete("session").status_code == 204
        browser = browser_of(site, "operator")
        browser.send(browser.get("/").form("/logout"))
        assert told(site) == [
            ("viewer", "sessions.login", "viewer", "done"),
            ("viewer", "sessions.logout", "viewer", "done"),
            ("operator", "sessions.login", "operator", "done"),
            ("operator", "sessions.logout", "operator", "done"),
        ]
        assert [entry["via"] for entry in entries(site)] == ["rest", "rest", "ui", "ui"]


def test_a_program_that_ends_no_session_leaves_no_entry(tmp_path: Path) -> None:
    with opened(tmp_path, auth="password") as site:
        site.create_users()
        assert site.with_token(Role.VIEWER).delete("session").status_code == 204
        assert entries(site) == []


def test_logging_out_everywhere_ends_all_sessions_and_no_token(tmp_path: Path) -> None:
    with opened(tmp_path, auth="password") as site:
        site.create_users()
        program = site.with_token(Role.VIEWER)
        first, second = site.logged_in("viewer"), browser_of(site, "viewer")
        others = site.logged_in("operator")
        assert first.delete("me/sessions").status_code == 204
        assert first.get("me").status_code == 401
        assert second.http.get("/").headers["location"] == "/login"
        assert (others.get("me").status_code, program.get("me").status_code) == (200, 200)
        third = browser_of(site, "viewer")
        form = third.get("/account").form("/account/logout")
        assert third.send(form) == "/login?said=logged-out"
        assert third.http.get("/").headers["location"] == "/login"
        ends = [entry for entry in entries(site) if entry["action"] == "sessions.logout_all"]
        assert [(e["actor"], e["via"], e["outcome"]) for e in ends] == [
            ("viewer", "rest", "done"),
            ("viewer", "ui", "done"),
        ]


def test_a_new_password_is_recorded_and_never_said(tmp_path: Path) -> None:
    with opened(tmp_path, auth="password") as site:
        site.create_users()
        client = site.logged_in("viewer")
        wrong = client.put("me/password", json={"old": WRONG, "new": NEW})
        assert wrong.status_code == 401
        right = client.put("me/password", json={"old": PASSWORD, "new": NEW})
        assert right.status_code == 204
        assert told(site)[1:] == [
            ("viewer", "self.change", "viewer", "refused"),
            ("viewer", "self.change", "viewer", "done"),
        ]
        assert entries(site)[2]["after"] == {"password": "changed"}
        kept = site.with_token(Role.ADMIN, "admin").get("audit").text
    assert not [each for each in (PASSWORD, WRONG, NEW) if each in kept]


@pytest.mark.parametrize("via", ["rest", "ui"])
def test_the_first_admin_is_recorded_as_who_made_them(tmp_path: Path, via: str) -> None:
    def set_up(site: Site, token: str, name: str) -> int:
        given = {"token": token, "name": name, "password": PASSWORD}
        if via == "rest":
            return site.client().post("setup", json=given).status_code
        return browser_of(site).http.post("/setup", data=given).status_code

    with opened(tmp_path, auth="password", login_attempts=2) as site:
        token = site.service.accounts.new_set_up_token()
        assert set_up(site, "guessed", "admin") == 401
        assert set_up(site, token, "admin") in {201, 303}
        assert [set_up(site, token, "eve") for _ in range(3)] == [429] * 3
        refused, made, throttled = entries(site)
    assert (refused["actor"], refused["role"], refused["outcome"]) == ("nobody", None, "refused")
    assert (made["actor"], made["role"], made["outcome"]) == ("admin", "admin", "done")
    assert (made["after"], made["via"]) == ({"role": "admin"}, via)
    assert (throttled["actor"], throttled["outcome"]) == ("nobody", "throttled")
    assert {entry["action"] for entry in (refused, made, throttled)} == {"users.set_up"}
    assert token not in str([refused, made, throttled])


def test_who_is_nobody_may_try_the_way_in_and_nothing_else(guarded: Site) -> None:
    stranger = guarded.service.operations(nobody(Via.REST, ""))
    may = {action.value for action in Action if stranger.may(action)}
    assert may == {"sessions.login", "users.set_up"}
    with pytest.raises(AccessDeniedError):
        stranger.list_tasks()
