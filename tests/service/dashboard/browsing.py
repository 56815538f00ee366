"""Pages as a browser sees them: links, forms, and what its policy would refuse."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2
from starlette.testclient import TestClient

from tests.service.conftest import PASSWORD, Site

HOST = "http://localhost"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_LINKS = {"a": "href", "link": "href", "script": "src", "img": "src"}


class Form:
    """A form: where it goes, and what its fields hold."""

    def __init__(self, attributes: dict[str, str]) -> None:
        self.action = attributes.get("action", "")
        self.method = attributes.get("method", "get")
        self.fields: dict[str, str] = {}
        self.buttons: list[str] = []


class Page(HTMLParser):
    """What stands on a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.forms: list[Form] = []
        self.refused: list[str] = []
        self.text = ""
        self._form: Form | None = None
        self._select: tuple[str, bool] | None = None
        self._option: str | None = None
        self._within: list[str] = []
        self._area: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in {"script", "style", "textarea", "button"}:
            self._within.append(tag)
        self._refuse(tag, given)
        if tag in _LINKS and _LINKS[tag] in given:
            self.links.append(given[_LINKS[tag]])
        if tag == "form":
            self._form = Form(given)
            self.forms.append(self._form)
        elif self._form is not None:
            self._field(self._form, tag, given)

    def _refuse(self, tag: str, given: dict[str, str]) -> None:
        """Note what the policy doesn't let a page do."""
        if tag == "style" or (tag == "script" and "src" not in given):
            self.refused.append(tag)
        self.refused += [f"{tag} {name}" for name in given if name == "style" or name[:2] == "on"]

    def _field(self, form: Form, tag: str, given: dict[str, str]) -> None:
        name = given.get("name", "")
        if tag == "input" and (given.get("type") != "checkbox" or "checked" in given):
            form.fields[name] = given.get("value", "")
        elif tag == "select":
            form.fields[name] = ""
            self._select = (name, False)
        elif tag == "option" and self._select is not None:
            self._option = given.get("value")
            chosen, fixed = self._select
            if "selected" in given or (not fixed and form.fields[chosen] == ""):
                form.fields[chosen] = given.get("value", "\0")
                self._select = (chosen, "selected" in given or fixed)
        elif tag == "textarea":
            form.fields[name] = ""
            self._area = name
        elif tag == "button":
            form.buttons.append(f"{name}={given.get('value', '')}" if name else "")

    def handle_endtag(self, tag: str) -> None:
        if self._within and self._within[-1] == tag:
            self._within.pop()
        if tag == "form":
            self._form = None
        elif tag == "select":
            self._select = None
        elif tag == "textarea":
            self._area = None

    def handle_data(self, data: str) -> None:
        if self._form is not None and self._area is not None:
            self._form.fields[self._area] += data
        if self._form is not None and self._select is not None and data.strip():
            name, _ = self._select
            if self._form.fields[name] == "\0":
                self._form.fields[name] = data.strip()
        if not self._within or self._within[-1] not in {"script", "style"}:
            self.text += f" {data}"

    @property
    def words(self) -> str:
        """The text of the page, with one space between words."""
        return " ".join(self.text.split())

    def form(self, action: str) -> Form:
        """Return the form that changes something at an address."""
        [found] = [
            form for form in self.forms
            if form.method == "post" and urlsplit(form.action).path == action
        ]  # fmt: skip
        return found

    @property
    def deeds(self) -> set[str]:
        """Where its forms change something."""
        return {urlsplit(form.action).path for form in self.forms if form.method == "post"}


class Browser:
    """Somebody who looks at the pages of a site, and follows no redirect by themselves."""

    def __init__(self, app: Any, root_path: str = "") -> None:
        self.http = TestClient(
            app, HOST, raise_server_exceptions=False, root_path=root_path, follow_redirects=False
        )

    def get(self, path: str, status: int = 200) -> Page:
        answer = self.http.get(path)
        assert answer.status_code == status, (path, answer.status_code, answer.text[:2_000])
        return _page(answer)

    def post(self, path: str, fields: dict[str, str], status: int = 303) -> Page:
        answer = self.http.post(path, data=fields)
        assert answer.status_code == status, (path, answer.status_code, Page(answer.text).words)
        return _page(answer)

    def send(self, form: Form, status: int = 303, **said: str) -> Any:
        """Send a form with some fields filled in; return where that leads, or the page."""
        answer = self.http.post(form.action, data=form.fields | said)
        assert answer.status_code == status, (answer.status_code, Page(answer.text).words)
        return answer.headers["location"] if status == 303 else _page(answer)


def _page(answer: httpx2.Response) -> Page:
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    page = Page(answer.text)
    assert page.refused == []
    return page


def browser_of(site: Site, name: str | None = None) -> Browser:
    """Return a browser, in which somebody has logged in by the page for that."""
    browser = Browser(site.app)
    if name is not None:
        form = browser.get("/login").form("/login")
        assert browser.send(form, name=name, password=PASSWORD) == "/"
    return browser


def crawl(browser: Browser, start: str) -> set[str]:
    """Follow all links from a page on; return what was visited, each of which answered 200."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = browser.http.get(path)
        assert answer.status_code == 200, (path, answer.status_code, Page(answer.text).words)
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        page = _page(answer)
        for link in page.links:
            target = urlsplit(urljoin(f"{HOST}{path}", link))
            assert f"{target.scheme}://{target.netloc}" == HOST, (path, link)
            waiting.append(f"{target.path}?{target.query}" if target.query else target.path)
    return seen
