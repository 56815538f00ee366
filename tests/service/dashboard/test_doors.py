"""Logging in and out, the first admin, tokens and users, by pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service.conftest import PASSWORD, Site, opened
from tests.service.dashboard.browsing import Browser, browser_of

NEW = "another horse battery"
SHORT = "short"
WRONG = "guessed"


def test_who_isnt_known_is_asked_and_comes_back(guarded: Site) -> None:
    browser = browser_of(guarded)
    answer = browser.http.get("/tasks?state=paused")
    assert answer.status_code == 303
    form = browser.get(answer.headers["location"]).form("/login")
    assert browser.send(form, name="viewer", password=PASSWORD) == "/tasks?state=paused"
    cookie = browser.http.cookies.jar
    assert [each.name for each in cookie] == ["tickwork_session"]


def test_a_page_that_looks_again_is_loaded_anew_when_the_session_is_over(guarded: Site) -> None:
    answer = browser_of(guarded).http.get("/tasks", headers={"HX-Request": "true"})
    assert answer.status_code == 401
    assert answer.headers["hx-refresh"] == "true"


@pytest.mark.parametrize(
    "elsewhere", ["//evil.example/x", "https://evil.example", "/\\evil.example", "/\tx", "x"]
)
def test_logging_in_leads_nowhere_else(guarded: Site, elsewhere: str) -> None:
    browser = browser_of(guarded)
    form = browser.get("/login").form("/login")
    assert browser.send(form, name="viewer", password=PASSWORD, next=elsewhere) == "/"


def test_a_wrong_password_is_said_without_saying_what_was_wrong(guarded: Site) -> None:
    browser = browser_of(guarded)
    form = browser.get("/login").form("/login")
    wrong = browser.send(form, 401, name="viewer", password=WRONG)
    nobody = browser.send(form, 401, name="nobody-at-all", password=WRONG)
    said = "There is no such user with this password."
    assert said in wrong.words
    assert said in nobody.words


def test_too_many_wrong_passwords_have_to_wait(tmp_path: Path) -> None:
    with opened(tmp_path, auth="password", login_attempts=2) as site:
        site.create_users()
        browser = browser_of(site)
        form = browser.get("/login").form("/login")
        for _ in range(2):
            browser.send(form, 401, name="viewer", password=WRONG)
        page = browser.send(form, 429, name="viewer", password=PASSWORD)
        assert "too many" in page.words.lower()


def test_logging_out_ends_the_session(guarded: Site) -> None:
    browser = browser_of(guarded, "operator")
    form = browser.get("/").form("/logout")
    secret = browser.http.cookies["tickwork_session"]
    assert browser.send(form) == "/login?said=logged-out"
    assert "tickwork_session" not in browser.http.cookies
    browser.http.cookies.set("tickwork_session", secret)
    assert browser.http.get("/").headers["location"] == "/login"


def test_the_first_admin_sets_up(tmp_path: Path) -> None:
    with opened(tmp_path, auth="password") as site:
        browser = browser_of(site)
        assert browser.http.get("/").headers["location"] == "/setup"
        assert browser.http.get("/login").headers["location"] == "/setup"
        token = site.service.accounts.new_set_up_token()
        form = browser.get(f"/setup?token={token}").form("/setup")
        assert form.fields["token"] == token
        browser.send(form, 401, token=WRONG, name="ada", password=PASSWORD)
        browser.send(form, 422, name="ada", password=SHORT)
        assert browser.send(form, name="ada", password=PASSWORD) == "/login?said=set-up"
        login = browser.get("/login").form("/login")
        assert browser.send(login, name="ada", password=PASSWORD) == "/"
        assert "ada admin" in browser.get("/").words
        assert browser.http.get("/setup").headers["location"] == "/"


def test_a_token_is_shown_once(guarded: Site) -> None:
    browser = browser_of(guarded, "operator")
    form = browser.get("/account").form("/account/tokens")
    page = browser.send(form, 200, name="deploy", role="viewer", days="30")
    secret = page.text.split("keep it now.")[1].split()[0]
    authorized = Browser(guarded.app)
    authorized.http.headers["Authorization"] = f"Bearer {secret}"
    assert "operator viewer" in authorized.get("/").words
    again = browser.get("/account")
    assert secret not in again.text
    assert "deploy" in again.words
    [revoke] = [each for each in again.forms if each.action.endswith("/revoke")]
    assert browser.send(revoke) == "/account?said=revoked"
    assert authorized.http.get("/").status_code == 303
    browser.send(form, 403, name="too much", role="admin")
    browser.send(form, 422, name="for ever", role="viewer", days="1e9")


def test_users_are_added_changed_and_removed(guarded: Site) -> None:
    browser = browser_of(guarded, "admin")
    form = browser.get("/users").form("/users")
    browser.send(form, 422, name="grace", password=SHORT, role="viewer")
    assert browser.send(form, name="grace", password=PASSWORD, role="viewer")
    browser.send(form, 409, name="grace", password=PASSWORD, role="viewer")
    change = browser.get("/users").form("/users/grace")
    browser.send(change, role="operator", password=NEW)
    grace = browser_of(guarded)
    login = grace.get("/login").form("/login")
    assert grace.send(login, name="grace", password=NEW) == "/"
    assert "grace operator" in grace.get("/").words
    browser.send(browser.get("/users").form("/users/grace"), disabled="1")
    assert grace.http.get("/").status_code == 303
    browser.send(browser.get("/users/grace/remove").form("/users/grace/remove"))
    assert "grace" not in browser.get("/users").words
    assert "users.remove" in browser.get("/audit?target=grace").words


def test_the_last_admin_stays(guarded: Site) -> None:
    browser = browser_of(guarded, "admin")
    form = browser.get("/users").form("/users/admin")
    browser.send(form, 409, role="viewer")
    browser.send(browser.get("/users/admin/remove").form("/users/admin/remove"), 409)


def test_ones_own_password_is_changed(guarded: Site) -> None:
    browser = browser_of(guarded, "viewer")
    form = browser.get("/account").form("/account/password")
    browser.send(form, 422, old=PASSWORD, new="short")
    assert browser.send(form, old=PASSWORD, new=NEW) == "/login?said=password"
    assert browser.http.get("/account").status_code == 303
    login = browser.get("/login").form("/login")
    assert browser.send(login, name="viewer", password=NEW) == "/"
    back = browser.get("/account").form("/account/password")
    assert browser.send(back, old=NEW, new=PASSWORD) == "/login?said=password"


def test_where_nobody_logs_in_there_are_no_doors(site: Site) -> None:
    browser = browser_of(site)
    assert browser.http.get("/login").headers["location"] == "/"
    assert browser.http.get("/setup").headers["location"] == "/"
    assert "Nobody needs to log in here" in browser.get("/account").words
