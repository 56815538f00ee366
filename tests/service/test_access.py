"""Logging in, sessions, tokens, accounts, and what is refused at the door."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.service.conftest import PASSWORD, START, Site, opened
from tickwork import Scheduler
from tickwork.errors import InvalidInputError
from tickwork.service.app import create_app
from tickwork.service.hosting import COOKIE
from tickwork.service.people import NewUser, UserChange
from tickwork.service.roles import Role
from tickwork.service.settings import ServiceSettings

LOGIN = {"name": "operator", "password": PASSWORD}
PAUSE = "tasks/close/pause"


def problem(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["type"].removeprefix("urn:tickwork:error:")


# --- sessions -------------------------------------------------------------------------------------


def test_who_logs_in_has_a_session_until_they_log_out(guarded: Site) -> None:
    client = guarded.client()
    assert problem(client.get("me")) == (401, "unauthenticated")
    answer = client.post("session", json=LOGIN)
    assert answer.status_code == 201
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= {word.strip() for word in cookie.split(";")}
    me = client.get("me").json()
    assert (me["name"], me["role"], me["user"]) == ("operator", "operator", "operator")
    assert "tasks.pause" in me["may"]
    assert "tasks.remove" not in me["may"]
    client.headers["X-CSRF-Token"] = me["csrf"]
    kept = client.cookies[COOKIE]
    assert client.delete("session").status_code == 204
    client.cookies.set(COOKIE, kept)
    assert problem(client.get("me")) == (401, "unauthenticated")


def test_the_cookie_alone_changes_nothing(guarded: Site) -> None:
    client = guarded.logged_in("operator")
    word = client.headers.pop("X-CSRF-Token")
    assert problem(client.post(PAUSE)) == (403, "access-denied")
    others = guarded.logged_in("operator").headers["X-CSRF-Token"]
    assert problem(client.post(PAUSE, headers={"X-CSRF-Token": others})) == (403, "access-denied")
    assert client.get("tasks/close").json()["schedule_state"] == "scheduled"
    assert client.post(PAUSE, headers={"X-CSRF-Token": word}).status_code == 200
    assert client.post("tasks/close/resume", headers={"X-CSRF-Token": word}).status_code == 200


def test_wrong_passwords_and_unknown_names_are_told_alike_and_counted(tmp_path: Path) -> None:
    with opened(tmp_path, auth="password", login_attempts=3, login_window=60) as site:
        site.create_users()
        client = site.client()
        wrong = {"name": "viewer", "password": "wrong"}
        told = {client.post("session", json=wrong).text for _ in range(3)}
        told |= {client.post("session", json={**wrong, "name": "none"}).text for _ in range(3)}
        assert len(told) == 1
        right = {"name": "viewer", "password": PASSWORD}
        refused = client.post("session", json=right)
        assert problem(refused) == (429, "too-many-attempts")
        assert refused.headers["Retry-After"] == "60"
        assert client.post("session", json={**right, "name": "admin"}).status_code == 201
        site.scheduler.advance(seconds=60)
        assert client.post("session", json=right).status_code == 201


def test_an_address_can_not_try_all_names(tmp_path: Path) -> None:
    with opened(tmp_path, auth="password", login_attempts=1) as site:
        site.create_users()
        client = site.client()
        for each in range(10):
            answer = client.post("session", json={"name": f"n{each}", "password": "x"})
            assert answer.status_code == 401
        right = {"name": "viewer", "password": PASSWORD}
        assert problem(client.post("session", json=right)) == (429, "too-many-attempts")


def test_sessions_end_when_they_are_not_used_and_at_their_end(tmp_path: Path) -> None:
    limits = {"session_ttl": 3_600, "session_idle": 600}
    with opened(tmp_path, auth="password", **limits) as site:
        site.create_users()
        used, unused = site.logged_in("viewer"), site.logged_in("viewer")
        for _ in range(6):
            site.scheduler.advance(seconds=590)
            assert used.get("me").status_code == 200
        assert unused.get("me").status_code == 401
        site.scheduler.advance(seconds=3_600 - 6 * 590)
        assert used.get("me").status_code == 401


def test_what_becomes_of_an_account_becomes_of_its_sessions_and_tokens(tmp_path: Path) -> None:
    with opened(tmp_path, auth="password") as site:
        site.create_users()
        accounts = site.service.accounts
        browser, program = site.logged_in("operator"), site.with_token(Role.OPERATOR)
        for each in (browser, program):
            assert each.post(PAUSE).status_code == 200
        accounts.change_user("operator", UserChange(role=Role.VIEWER))
        for each in (browser, program):
            assert problem(each.post(PAUSE)) == (403, "access-denied")
        accounts.change_user("operator", UserChange(password="another long word"))  # noqa: S106
        assert browser.get("me").status_code == 401
        assert program.get("me").status_code == 200
        accounts.change_user("operator", UserChange(disabled=True))
        assert program.get("me").status_code == 401
        assert site.client().post("session", json=LOGIN).status_code == 401
        accounts.remove_user("operator")
        assert accounts.tokens("operator") == []


def test_no_secret_is_kept_as_it_is(tmp_path: Path) -> None:
    with opened(tmp_path, auth="password") as site:
        site.create_users()
        browser, program = site.logged_in("viewer"), site.with_token(Role.VIEWER)
        assert browser.get("me").status_code == program.get("me").status_code == 200
        set_up = site.service.accounts.new_set_up_token()
        secrets = [PASSWORD, browser.cookies[COOKIE], set_up]
        secrets.append(program.headers["Authorization"].removeprefix("Bearer "))
    kept = b"".join(each.read_bytes() for each in tmp_path.iterdir())
    assert b"argon2id" in kept
    assert [secret for secret in secrets if secret.encode() in kept] == []


# --- accounts and tokens --------------------------------------------------------------------------


def test_the_first_admin_is_made_once_with_the_token_that_was_printed(tmp_path: Path) -> None:
    with opened(tmp_path, auth="password") as site:
        client = site.client()
        token = site.service.accounts.new_set_up_token()
        wanted = {"name": "ada", "password": PASSWORD}
        assert problem(client.post("setup", json={**wanted, "token": "wrong"}))[0] == 401
        made = client.post("setup", json={**wanted, "token": token})
        assert (made.status_code, made.json()["role"]) == (201, "admin")
        again = client.post("setup", json={**wanted, "name": "eve", "token": token})
        assert problem(again) == (401, "unauthenticated")
        assert [user.name for user in site.service.accounts.users()] == ["ada"]
        assert client.post("session", json=wanted).status_code == 201


def test_the_last_admin_stays(tmp_path: Path) -> None:
    with opened(tmp_path, auth="password") as site:
        site.create_users()
        admin = site.with_token(Role.ADMIN)
        for change in ({"role": "viewer"}, {"disabled": True}):
            assert problem(admin.patch("users/admin", json=change)) == (409, "conflict")
        assert problem(admin.delete("users/admin")) == (409, "conflict")
        new = {"name": "ada", "password": PASSWORD, "role": "admin"}
        assert admin.post("users", json=new).status_code == 201
        assert problem(admin.post("users", json=new)) == (409, "conflict")
        assert admin.delete("users/admin").status_code == 204
        assert admin.get("me").status_code == 401


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaaaa", "x" * 1_001])
def test_passwords_that_are_easily_guessed_are_refused(guarded: Site, password: str) -> None:
    new = {"name": "eve", "password": password, "role": "viewer"}
    answer = guarded.with_token(Role.ADMIN).post("users", json=new)
    assert answer.status_code == 422


def test_a_token_may_no_more_than_who_makes_it_and_is_seen_once(guarded: Site) -> None:
    maker = guarded.logged_in("operator")
    assert problem(maker.post("tokens", json={"name": "x", "role": "admin"}))[0] == 403
    expires = (START + timedelta(days=1)).isoformat()
    made = maker.post("tokens", json={"name": "x", "role": "viewer", "expires_at": expires}).json()
    # It can be said on a command line, where a word that begins with a dash is an option.
    assert re.fullmatch("[0-9a-f]{16}", made["id"])
    assert made["token"].startswith("tw_")
    program = guarded.client(Authorization=f"Bearer {made['token']}")
    assert program.get("me").json()["role"] == "viewer"
    listed = maker.get("tokens").json()
    assert made["id"] in [token["id"] for token in listed]
    assert all("token" not in token and token["user"] == "operator" for token in listed)
    # Nobody but admins meddles with those of others.
    assert problem(guarded.logged_in("viewer").delete(f"tokens/{made['id']}"))[0] == 404
    assert maker.delete(f"tokens/{made['id']}").status_code == 204
    assert program.get("me").status_code == 401


def test_a_token_ends_when_it_was_said_to(tmp_path: Path) -> None:
    with opened(tmp_path, auth="password") as site:
        site.create_users()
        until = START + timedelta(hours=1)
        secret, _ = site.service.accounts.create_token("viewer", "x", Role.VIEWER, until)
        program = site.client(Authorization=f"Bearer {secret}")
        site.scheduler.advance(minutes=59)
        assert program.get("me").status_code == 200
        site.scheduler.advance(minutes=1)
        assert program.get("me").status_code == 401


def test_ones_own_password_takes_the_present_one(tmp_path: Path) -> None:
    with opened(tmp_path, auth="password") as site:
        site.create_users()
        client = site.logged_in("viewer")
        new = "another long word"
        wrong = client.put("me/password", json={"old": "wrong", "new": new})
        assert problem(wrong) == (401, "unauthenticated")
        assert client.put("me/password", json={"old": PASSWORD, "new": new}).status_code == 204
        assert client.get("me").status_code == 401
        again = {"name": "viewer", "password": new}
        assert site.client().post("session", json=again).status_code == 201


# --- the door -------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "shop.example", "::"])  # noqa: S104
def test_other_addresses_need_people_to_log_in(host: str) -> None:
    with pytest.raises(ValueError, match="--auth password"):
        ServiceSettings(host=host)
    assert ServiceSettings(host=host, auth="password").host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_nobody_to_log_in(host: str) -> None:
    assert ServiceSettings(host=host).auth == "none"


def test_where_nobody_logs_in_only_names_of_this_machine_are_answered(client: TestClient) -> None:
    for host in ("localhost:8642", "127.0.0.1:1", "[::1]:8642", "LOCALHOST"):
        assert client.get("tasks", headers={"Host": host}).status_code == 200
    for host in ("evil.example", "localhost.evil.example:8642", ""):
        assert problem(client.get("tasks", headers={"Host": host})) == (403, "access-denied")
    live = client.get("http://10.0.0.7/health/live")
    assert (live.status_code, live.json()) == (200, {"status": "live"})


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
    ],
)
def test_pages_of_other_sites_change_nothing(client: TestClient, headers: dict[str, str]) -> None:
    assert problem(client.post(PAUSE, headers=headers)) == (403, "access-denied")
    assert client.get("tasks/close", headers=headers).json()["schedule_state"] == "scheduled"


def test_own_pages_and_programs_change_things(client: TestClient) -> None:
    for headers in ({}, {"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://localhost"}):
        assert client.post(PAUSE, headers=headers).status_code == 200


def test_a_viewer_only_looks(tmp_path: Path) -> None:
    with opened(tmp_path, viewer=True) as site:
        client = site.client()
        assert client.get("me").json()["role"] == "viewer"
        assert problem(client.post(PAUSE)) == (403, "access-denied")


def test_users_need_a_store_that_remembers_them() -> None:
    with pytest.raises(InvalidInputError, match="outlives the process"):
        create_app(Scheduler(), ServiceSettings(auth="password"))


def test_a_session_of_a_mounted_service_stays_under_its_prefix(guarded: Site) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    outer = Starlette(routes=[Mount("/jobs", guarded.app)])
    client = TestClient(outer, base_url="http://localhost/jobs/api/v1")
    answer = client.post("session", json=LOGIN)
    assert "Path=/jobs;" in answer.headers["set-cookie"]
    assert client.get("me").json()["name"] == "operator"


def test_names_of_users_are_words(guarded: Site) -> None:
    with pytest.raises(ValueError, match="pattern"):
        NewUser(name="Ada Lovelace", password=PASSWORD, role=Role.VIEWER)
