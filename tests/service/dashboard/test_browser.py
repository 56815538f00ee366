"""The pages in a real browser, as people use them: with scripts, and with a keyboard."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.service.conftest import PASSWORD

serving = pytest.importorskip("tests.service.dashboard.serving", exc_type=ImportError)

from playwright.sync_api import Request, Route, expect  # noqa: E402  skipped without it

from tests.service.dashboard import shop  # noqa: E402
from tests.service.dashboard.serving import Shop, Window  # noqa: E402

Open = Callable[..., Window]


# --- what people do -----------------------------------------------------------------------------


def test_a_task_is_created_with_its_fires_shown_meanwhile(store: Shop, window: Open) -> None:
    seen = window(store)
    page = seen.go("/new-task")
    page.get_by_label("Function").fill("tests.service.dashboard.shop:send_report")
    page.get_by_label("Id", exact=True).fill("made-here")
    page.get_by_label("Schedule", exact=True).fill("0 8 * * mon-fri")
    page.get_by_label("Time zone").fill("Europe/Berlin")
    expect(page.locator("#preview .fires li")).to_have_count(5)
    seen.keep_picture("new")
    page.get_by_label("Schedule", exact=True).fill("nonsense")
    expect(page.locator("#preview")).to_contain_text("is not a schedule")
    page.get_by_label("Schedule", exact=True).fill("0 8 * * mon-fri")
    expect(page.locator("#preview .fires li")).to_have_count(5)
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("The task was created.")).to_be_visible()
    expect(page.get_by_text("at 08:00 from Monday to Friday")).to_be_visible()
    assert store.scheduler.get_task("made-here").snapshot().callable_name == "send_report"
    store.scheduler.remove_task("made-here")


def test_an_edit_shows_what_it_does_before_it_is_saved(store: Shop, window: Open) -> None:
    seen = window(store)
    page = seen.go("/tasks/send-report/edit")
    page.get_by_label("Schedule", exact=True).fill("20m")
    expect(page.locator("#preview ins").first).to_have_text("every 20 minutes")
    expect(page.locator("#preview .fires li")).to_have_count(5)
    page.get_by_label("Tags").fill("daily")
    expect(page.locator("#preview .diff th[scope=row]")).to_have_text(
        ["schedule", "next fire", "tags"]
    )
    seen.keep_picture("edit")
    before = store.scheduler.get_task("send-report").snapshot()
    assert before.trigger_description == "every 15 minutes"
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The changes were saved.")).to_be_visible()
    after = store.scheduler.get_task("send-report").snapshot()
    assert (after.trigger_description, after.tags) == ("every 20 minutes", ("daily",))
    store.scheduler.update_task("send-report", trigger="interval", minutes=15, tags=["mail"])


def test_an_edit_takes_nothing_but_a_keyboard(store: Shop, window: Open) -> None:
    page = window(store).go("/tasks/charge-cards")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Edit":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Edit charge-cards")).to_be_visible()
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "tags":
            break
    page.keyboard.press("Control+A")
    page.keyboard.type("money, keyboard")
    expect(page.locator("#preview .diff tbody tr")).to_have_count(1)
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "save":
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    expect(page.get_by_text("The changes were saved.")).to_be_visible()
    assert store.scheduler.get_task("charge-cards").snapshot().tags == ("money", "keyboard")


def test_an_edit_works_without_scripts(store: Shop, window: Open) -> None:
    page = window(store, java_script_enabled=False).go("/tasks/close-day/edit")
    page.locator("[name=tags]").fill("daily, plain")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#preview ins")).to_have_text('["daily", "plain"]')
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The changes were saved.")).to_be_visible()
    assert store.scheduler.get_task("close-day").snapshot().tags == ("daily", "plain")


def test_a_task_is_paused_with_a_reason(store: Shop, window: Open) -> None:
    seen = window(store)
    page = seen.go("/tasks/close-day")
    page.get_by_role("link", name="Pause…").click()
    page.get_by_label("Why").fill("it is a holiday")
    page.get_by_label("Until").fill(serving.tomorrow())
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("The task is paused.")).to_be_visible()
    expect(page.locator("#live")).to_contain_text("it is a holiday · by anybody")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("The task goes on.")).to_be_visible()


def only_stream(route: Route) -> None:
    """Answer nothing to a page that asks again for its live part."""
    if "hx-request" in route.request.headers:
        route.fulfill(status=204)
    else:
        route.continue_()


def only_asking(route: Route) -> None:
    """Answer nothing to a page that wants to follow a run."""
    route.fulfill(status=204)


@pytest.mark.parametrize(
    ("pattern", "handle"), [("**/runs/*", only_stream), ("**/runs/*/follow", only_asking)]
)
def test_a_run_is_watched_to_its_end(
    store: Shop, window: Open, pattern: str, handle: Callable[[Route], None]
) -> None:
    seen = window(store)
    seen.page.route(pattern, handle)
    page = seen.go("/tasks/rebuild-index")
    page.get_by_role("button", name="Run now").click()
    bar = page.locator("progress")
    expect(bar).to_have_attribute("value", "0.0")
    for part in (1, 2, 3):
        shop.step.release()
        expect(bar).to_have_attribute("value", str(25.0 * part))
        expect(page.locator("[data-tail]")).to_contain_text(f"part {part + 1} begins")
        if part == 2:
            seen.keep_picture("run")
    shop.step.release()
    expect(page.locator("h1 .status")).to_have_text("completed")
    expect(page.locator("#result-text")).to_have_text('"rebuilt"')
    expect(page.locator("#announce")).to_have_text("The run is completed")
    expect(page.locator("#live[hx-get]")).to_have_count(0)
    expect(page.locator("#live[data-follow]")).to_have_count(0)


def test_a_run_that_is_held_stays_as_it_was(store: Shop, window: Open) -> None:
    seen = window(store)
    asked: list[str] = []
    page = seen.go("/tasks/rebuild-index")
    page.get_by_role("button", name="Run now").click()
    bar = page.locator("progress")
    expect(bar).to_have_attribute("value", "0.0")
    page.get_by_role("link", name="Hold").click()
    expect(page.get_by_role("link", name="Go live")).to_be_visible()

    def note(request: Request) -> None:
        # The icon of the page may come late, and only once.
        if "/static/" not in request.url:
            asked.append(request.url)

    page.on("request", note)
    for _ in range(4):
        shop.step.release()
    # Longer than it takes until a page asks again.
    page.wait_for_timeout(1_500)
    expect(bar).to_have_attribute("value", "0.0")
    assert asked == []
    page.get_by_role("link", name="Go live").click()
    expect(page.locator("h1 .status")).to_have_text("completed")


def test_focus_and_scrolling_stay_while_a_run_moves(store: Shop, window: Open) -> None:
    page = window(store).go("/tasks/rebuild-index")
    page.get_by_role("button", name="Run now").click()
    bar = page.locator("progress")
    expect(bar).to_have_attribute("value", "0.0")
    page.locator("#cancel").focus()
    shop.step.release()
    expect(bar).to_have_attribute("value", "25.0")
    expect(page.locator("#cancel")).to_be_focused()
    for _ in range(3):
        shop.step.release()
    expect(page.locator("h1 .status")).to_have_text("completed")


def test_a_run_is_cancelled(store: Shop, window: Open) -> None:
    page = window(store).go("/tasks/wait-for-ever")
    page.get_by_role("button", name="Run now").click()
    expect(page.locator("h1 .status")).to_have_text("running")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("h1 .status")).to_have_text("cancelled")
    expect(page.get_by_text("cancelled by anybody")).to_be_visible()


def test_a_traceback_is_read_and_the_run_done_again(store: Shop, window: Open) -> None:
    seen = window(store)
    page = seen.go("/tasks/charge-cards")
    page.locator("tbody a.code").first.click()
    trace = page.get_by_role("region", name="Traceback 1")
    expect(trace).to_contain_text("Traceback (most recent call last)")
    expect(trace).to_contain_text("card 4711 was refused by the bank")
    seen.keep_picture("failure")
    first = page.url
    page.get_by_role("button", name="Do it again").click()
    expect(page.get_by_text("A new run does it again.")).to_be_visible()
    assert page.url != first
    expect(page.locator("h1 .status")).to_have_text("failed")


def test_live_parts_move_until_they_are_held(store: Shop, window: Open) -> None:
    page = window(store).go("/runs?task=send-report")
    rows = page.locator("tbody tr")
    count = rows.count()
    store.scheduler.run_task("send-report")
    expect(rows).to_have_count(count + 1)
    page.get_by_role("link", name="Hold").click()
    expect(page.get_by_role("link", name="Go live")).to_be_visible()
    assert "hold=1" in page.url
    assert "task=send-report" in page.url
    expect(page.locator("[hx-trigger]")).to_have_count(0)


def test_a_countdown_counts_down(store: Shop, window: Open) -> None:
    page = window(store).go("/tasks?search=send-report&hold=1")
    shown = page.locator("time[data-countdown]")
    before = shown.inner_text()
    expect(shown).not_to_have_text(before)


def test_people_log_in_and_out_and_viewers_only_look(guarded_store: Shop, window: Open) -> None:
    seen = window(guarded_store)
    page = seen.go("/tasks/close-day")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    seen.keep_picture("login")
    page.get_by_label("Name").fill("viewer")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="close-day")).to_be_visible()
    expect(page.get_by_role("button", name="Run now")).to_have_count(0)
    expect(page.get_by_role("link", name="Edit")).to_have_count(0)
    seen.go("/tasks/close-day/edit")
    expect(page.get_by_role("heading", name="You may not do that")).to_be_visible()
    expect(page.get_by_text("tasks.change takes the role operator")).to_be_visible()
    seen.go("/")
    page.get_by_role("button", name="Log out", exact=True).click()
    expect(page.get_by_text("You are logged out.")).to_be_visible()
    seen.go("/tasks")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_the_theme_is_chosen_and_stays(store: Shop, window: Open) -> None:
    page = window(store, color_scheme="light").go("/nodes")
    body = page.locator("body")
    light = "rgb(246, 247, 249)"
    expect(body).to_have_css("background-color", light)
    page.get_by_role("button", name="Theme: auto").click()
    expect(page.get_by_role("button", name="Theme: light")).to_be_visible()
    expect(body).to_have_css("background-color", light)
    page.get_by_role("button", name="Theme: light").click()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    expect(body).to_have_css("background-color", "rgb(18, 20, 24)")
    assert page.url.endswith("/nodes")
