"""Looking for a few runs among many: pages that may be empty, and still not the last."""

from __future__ import annotations

import pytest

from tests.service.conftest import Site
from tests.service.dashboard.browsing import browser_of
from tickwork.service.operations import runs
from tickwork.stores.sql import SQLStore


def test_a_page_without_runs_leads_to_older_ones(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_LOOKED_AT", 10)
    browser = browser_of(site)
    site.scheduler.remove_task("fails")
    run = site.scheduler.run_task("close")
    site.scheduler.advance(minutes=60)
    first = browser.get("/runs?source=manual")
    assert "No run fits yet None since 2026-11-02 08:15:00 UTC" in first.words
    [following] = [link for link in first.links if "cursor=" in link]
    assert "source=manual" in following
    second = browser.get(following)
    assert f"/runs/{run.id}" in second.links
    assert "This is the last page." in second.words
    done = browser.get("/runs?status=completed")
    assert "Among all runs back to 2026-11-02 08:15:00 UTC" in done.words


def test_quarantined_runs_are_counted_and_found(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = browser_of(site)
    for _ in range(7):
        site.scheduler.run_task("close")
    store = site.service.reach.stores["default"]
    assert isinstance(store, SQLStore)
    with store._database.writing() as connection:  # noqa: SLF001
        connection.execute(store._session.tables.runs.update().values(suspect=True))  # noqa: SLF001
    page = browser.get("/")
    assert "0 late 0 failing 7 quarantined" in page.words
    [link] = [each for each in page.links if "suspect" in each]
    assert link == "/runs?status=pending&suspect=true"
    assert sum(each.startswith("/runs/") for each in browser.get(link).links) == 7
    assert "No run fits" in browser.get("/runs?suspect=false").words
