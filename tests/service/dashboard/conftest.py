"""A service with users who may log in as often as tests do, and shops that a browser looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.conftest import Site, opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.service.dashboard.serving import Shop, Window


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return a service with a user of each role."""
    folder = tmp_path_factory.mktemp("guarded")
    with opened(folder, auth="password", login_attempts=1_000) as site:
        site.create_users()
        yield site


# --- a real browser, where there is one -----------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a browser."""
    from tests.service.dashboard import serving

    starting = serving.browser_here()
    try:
        browser = starting.__enter__()
    except FileNotFoundError as error:
        pytest.skip(f"there is no browser here: {error}")
    try:
        yield browser
    finally:
        starting.__exit__(None, None, None)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Shop]:
    """Return a shop where nobody logs in."""
    from tests.service.dashboard.serving import open_shop

    with open_shop(tmp_path_factory.mktemp("shop")) as found:
        yield found


@pytest.fixture(scope="module")
def guarded_store(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Shop]:
    """Return a shop with a user of each role."""
    from tests.service.dashboard.serving import open_shop

    folder = tmp_path_factory.mktemp("guarded")
    with open_shop(folder, auth="password", login_attempts=1_000) as found:
        yield found


@pytest.fixture
def window(browser: Browser) -> Iterator[Callable[..., Window]]:
    """Open windows of browsers of their own, in which nothing may complain."""
    from tests.service.dashboard.serving import Window

    opened_windows: list[tuple[Window, Any]] = []

    def open_window(shown: Shop, **options: Any) -> Window:
        width, height = options.pop("width", 1280), options.pop("height", 800)
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        found = Window(context, shown.url)
        opened_windows.append((found, context))
        return found

    yield open_window
    for found, context in opened_windows:
        context.close()
        assert found.complaints == []
