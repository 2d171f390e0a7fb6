"""What comes late: answers to what was asked before, for another view, or for another key."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import go, told
from tests.support.daemon import DaemonProcess

pytestmark = pytest.mark.long

LOOK = "document.dispatchEvent(new Event('visibilitychange'))"  # which has all views look again


class Held:
    """Holds the first answer to an address back; those to later questions pass."""

    def __init__(self, page: Page, url: str) -> None:
        self._page = page
        self._first: Route | None = None
        page.route(url, self._route)

    def _route(self, route: Route) -> None:
        if self._first is None:
            self._first = route
        else:
            route.continue_()

    def wait(self) -> None:
        """Until it was asked."""
        while self._first is None:
            self._page.evaluate("new Promise(requestAnimationFrame)")

    def release(self, json: object = None) -> None:
        """Answer now, with this or with what the daemon says."""
        self.wait()
        assert self._first is not None
        if json is None:
            self._first.continue_()
        else:
            self._first.fulfill(json=json)
        self._page.evaluate("new Promise(done => setTimeout(done, 0))")
        self._page.evaluate("fetch('health').then(response => response.text())")


@pytest.mark.parametrize(
    ("view", "url", "there"),
    [
        ("Models", "**/models", "tiny"),
        ("Requests", "**/runnerd/requests*", "completions"),
        ("Approvals", "**/runnerd/approvals", "for the race"),
    ],
)
def test_an_older_answer_never_takes_the_place_of_a_newer_one(
    page: Page, daemon: DaemonProcess, view: str, url: str, there: str
) -> None:
    """The second question is answered first."""
    daemon.http.post("/v1/completions", json={"model": "tiny", "prompt": "x", "max_tokens": 1})
    if view == "Approvals":
        with daemon.stranger(
            f"racer {there} {page.viewport_size}", may=["session", "request_load"]
        ) as racer:
            racer.post(
                "/runnerd/approvals", json={"type": "load", "model": "other", "reason": there}
            )
            said = racer.get("/runnerd/approvals").text
            assert there in said, said
    held = Held(page, url)
    go(page, view)
    held.wait()
    page.evaluate(LOOK)
    main = page.locator("main")
    expect(main).to_contain_text(there)
    held.release([])
    expect(main).to_contain_text(there)


def test_nothing_can_be_typed_into_a_view_that_is_shown_anew(page: Page) -> None:
    """A view is shown once it is known who looks, and stays: also one gone to before that."""
    held = Held(page, "**/runnerd/me")
    page.reload()
    held.wait()
    page.evaluate("location.hash = '#/models'")
    page.evaluate(
        "import(document.querySelector('script').src.replace('app', 'models')).then(() => null)"
    )
    page.evaluate("new Promise(requestAnimationFrame)")
    box = page.get_by_label("Search the hub")
    expect(box).to_have_count(0)
    held.release()
    box.fill("tiny")
    page.evaluate(LOOK)
    expect(box).to_have_value("tiny")


def test_a_chat_that_was_left_draws_nothing(page: Page) -> None:
    """The models that it has asked for come when another view is looked at."""
    held = Held(page, "**/models")
    go(page, "Chat")
    held.wait()
    go(page, "Sessions")
    held.release()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sessions")
    expect(page.get_by_label("Message", exact=True)).to_have_count(0)


def test_the_mode_that_was_chosen_last(page: Page) -> None:
    """A form has the values of the mode that stands above it."""
    go(page, "Models")
    page.get_by_role("link", name="tiny", exact=True).click()
    mode = page.get_by_label("Mode", exact=True)
    expect(mode).to_be_visible()
    held = Held(page, "**/engines/_configure*")
    mode.select_option("Embedding")
    held.wait()
    mode.select_option("Completion")
    answer = [{"Mode": "embedding", "Config": {"keep_alive": "77m"}}]
    expect(page.get_by_label("keep_alive", exact=True)).to_have_value("")
    held.release(answer)
    expect(mode).to_have_value("completion")
    expect(page.get_by_label("keep_alive", exact=True)).to_have_value("")


def test_another_key_gets_nothing_of_what_was_said(page: Page, daemon: DaemonProcess) -> None:
    """A chat and what was written beside it are gone, and what is on its way never comes."""
    key = daemon.http.post(
        "/runnerd/users", json={"name": f"other {page.viewport_size}", "may": ["session"]}
    ).json()["key"]
    go(page, "Chat")
    page.get_by_text("System prompt, parameters, tools").click()
    page.get_by_label("System prompt").fill("a secret of mine")
    page.get_by_label("Most tokens").fill("4")
    page.get_by_label("Message", exact=True).fill("my own words")
    page.get_by_label("Message", exact=True).press("Enter")
    expect(page.get_by_role("log")).to_contain_text("my own words")
    page.locator("#account").click()
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Use it").click()
    expect(page.locator("#account")).to_contain_text("other")
    expect(page.locator("main")).not_to_contain_text("my own words")
    expect(page.get_by_label("System prompt")).to_have_value("")


def test_only_what_was_changed_is_saved(page: Page, daemon: DaemonProcess) -> None:
    """Two owners edit one user: neither takes back what the other has changed."""
    name = f"shared-{page.viewport_size and page.viewport_size['width']}"
    id = daemon.http.post("/runnerd/users", json={"name": name, "may": ["session"]}).json()["id"]
    go(page, "Users")
    page.get_by_role("button", name=f"Edit {name}").click()
    limits = {"tokens_per_day": 777}
    daemon.http.post(f"/runnerd/users/{id}", json={"limits": limits}).raise_for_status()
    page.get_by_role("dialog").get_by_label("Models", exact=True).fill("ai/*")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    [user] = [each for each in daemon.http.get("/runnerd/users").json() if each["id"] == id]
    assert user["models"] == ["ai/*"]
    assert user["limits"]["tokens_per_day"] == 777


def test_two_pages_of_one_owner(page: Page, daemon: DaemonProcess) -> None:
    """What one of them does is seen in the other; a question there stays open meanwhile."""
    daemon.http.post("/engines/unload", json={"all": True, "force": True})
    other = page.context.new_page()
    other.goto("/ui#/models")
    go(page, "Sessions")
    page.get_by_role("button", name="New session").click()
    row = other.get_by_role("row").filter(has_text="tiny").first
    row.get_by_role("button", name="Load tiny", exact=True).click()
    told(other, "tiny is loaded")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    go(page, "Overview")
    expect(page.get_by_role("table", name="Loaded models")).to_contain_text("tiny")
    other.close()
    daemon.http.post("/engines/unload", json={"all": True, "force": True})


def test_what_is_being_done_stays_disabled(page: Page) -> None:
    """A view that is drawn meanwhile does not have it done twice."""
    go(page, "Models")
    held = Held(page, "**/engines/load")
    load = page.get_by_role("button", name="Load other")
    load.click()
    held.wait()
    with page.expect_response("**/runnerd/overview"):
        page.evaluate(LOOK)
    page.evaluate("new Promise(done => setTimeout(done, 0))")
    expect(load).to_be_disabled()
    expect(load).to_have_attribute("aria-busy", "true")
    held.release({})
    told(page, "other is loaded")
    expect(load).to_be_enabled()


def test_what_a_dialog_is_told_is_in_it(page: Page) -> None:
    """What is beside a modal dialog is covered, cannot be pressed and is not read out."""
    go(page, "Users")
    page.get_by_role("button", name="Restore").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Restore").click()
    told(page, "Choose a file")
    dialog.get_by_role("button", name="Dismiss").click()
    expect(page.locator("#messages")).to_be_empty()
    dialog.get_by_role("button", name="Restore").click()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    told(page, "Choose a file")
    page.get_by_role("button", name="Dismiss").click()
