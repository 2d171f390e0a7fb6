"""How the page looks and is used: widths, light and dark, contrast, names, keyboard."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import go, watched
from tests.support.daemon import DaemonProcess

pytestmark = pytest.mark.long

LOOKS = (Path(__file__).parent / "looks.js").read_text()
SCREENSHOTS = os.environ.get("PAGE_SCREENSHOTS")  # a folder that gets one of each view
LONG = "a-model-with-a-name-that-is-as-long-as-those-of-merged-and-distilled-ones-are"


@pytest.fixture(params=["wide-light", "wide-dark", "phone-light", "phone-dark"])
def look(request: pytest.FixtureRequest) -> str:
    """Both widths, light and dark."""
    return str(request.param)


@pytest.fixture(scope="module")
def daemon(daemon: DaemonProcess) -> DaemonProcess:
    """A daemon with something on each view."""
    http = daemon.http
    http.post("/models/tiny/tag", params={"repo": f"organisation/{LONG}", "tag": "q4_k_m"})
    may = ["session", "view_llms", "load_llm", "request_load", "request_download"]
    said = {"name": "ann", "may": may, "models": ["ai/*"], "limits": {"tokens_per_day": 200000}}
    user = http.post("/runnerd/users", json={**said, "label": "open-webui"}).json()
    with daemon.client() as ann:
        ann.headers["Authorization"] = f"Bearer {user['key']}"
        asked = {"type": "permissions", "may": may, "reason": "the demo on Friday, " * 5}
        ann.post("/runnerd/approvals", json=asked)
        ann.post("/runnerd/approvals", json={"type": "load", "model": "other"})
        ann.post("/v1/completions", json={"model": "tiny", "prompt": "x", "max_tokens": 3})
    chat = {"model": "other", "messages": [{"role": "user", "content": "x"}], "max_tokens": 9}
    http.post("/v1/chat/completions", json=chat, headers={"X-Request-Origin": "OpenWebUI"})
    http.post("/v1/chat/completions", json={**chat, "temperature": "hot"})
    session = http.post("/runnerd/sessions", json={"model": "tiny", "name": "trip"}).json()
    prompt = {"prompt": "Where to?", "parameters": {"max_tokens": 90}}
    http.post(f"/runnerd/sessions/{session['id']}/prompt", json=prompt)
    job = {"id": "one", "model": "tiny", "prompt": "x", "parameters": {"max_tokens": 9}}
    http.post("/runnerd/jobs", json=job)
    return daemon


@pytest.fixture
def page(chromium: Browser, daemon: DaemonProcess, look: str) -> Iterator[Page]:
    with watched(chromium, daemon.address, look) as page:
        page.goto("/ui")
        expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
        yield page


PLACES = {
    "overview": "Loaded models",
    "models": "In the store",
    "models/ai%2Ftiny%3Alatest": "context-size",
    "chat": "System prompt, parameters, tools",
    "requests": "OpenWebUI",
    "logs": "listening on",
    "approvals": "the demo on Friday",
    "users": "open-webui",
    "sessions": "trip",
    "sessions/trip": "Where to?",
    "jobs": "one",
    "jobs/one": "Asked",
    "reference": "/v1/chat/completions",
}


def test_nothing_is_cut_off_or_faint_or_nameless(page: Page, look: str) -> None:
    """Every view, with everything in it that can be opened."""
    faults = {}
    for place, there in PLACES.items():
        page.evaluate("place => { location.hash = '#/' + place }", place)
        expect(page.locator("main")).to_contain_text(there)
        found = page.evaluate(LOOKS)
        if place != "reference":  # there are hundreds
            page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true })")
        shoot(page, f"{place}-{look}")
        found += page.evaluate(LOOKS)
        if found:
            faults[place] = found
    assert faults == {}


def shoot(page: Page, name: str) -> None:
    """Keep a picture, where somebody wants to look at them."""
    if SCREENSHOTS:
        file = "".join(each if each.isalnum() else "-" for each in name)
        page.screenshot(path=Path(SCREENSHOTS) / f"{file}.png", full_page=True)


def test_dialogs(page: Page, look: str) -> None:
    """Dialogs fit, have the focus, give it back when they are escaped."""
    for view, button in (("Users", "Add a user"), ("Sessions", "New session"), ("Jobs", "New job")):
        go(page, view)
        opener = page.get_by_role("button", name=button)
        opener.click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert page.evaluate("document.querySelector('dialog').contains(document.activeElement)")
        shoot(page, f"{button}-{look}")
        assert page.evaluate(LOOKS) == []
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(opener).to_be_focused()


def test_faults_are_found(page: Page) -> None:
    """What looks for faults finds those that a test makes."""
    page.evaluate(
        "() => { const s = document.createElement('span'); s.textContent = 'a long text';"
        " s.style.cssText = 'display:inline-block;width:20px;overflow:hidden;white-space:nowrap;"
        "color:rgb(120,120,120);background:rgb(100,100,100)';"
        " const b = document.createElement('button'); b.style.padding = '9px';"
        " document.querySelector('header').append(s, b) }"
    )
    faults = " ".join(page.evaluate(LOOKS))
    assert "is cut off" in faults
    assert "is too faint" in faults
    assert "has no name" in faults


def test_light_and_dark(page: Page, look: str) -> None:
    """It begins as the system is, is switched, and stays so."""

    def brightness() -> int:
        script = (
            "getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g)"
            ".map(Number).reduce((a, b) => a + b)"
        )
        return int(page.evaluate(script))

    dark = look.endswith("dark")
    assert (brightness() < 200) == dark
    page.get_by_role("button", name="Light or dark").click()
    assert (brightness() < 200) != dark
    page.reload()
    assert (brightness() < 200) != dark


def test_with_the_keyboard_alone(page: Page, look: str) -> None:
    """The content is reached at once, views by the menu, and a view's heading gets the focus."""
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    if look.startswith("phone"):
        page.get_by_role("button", name="Menu").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("navigation").get_by_role("link").first).to_be_focused()
        page.keyboard.press("Escape")
        expect(page.get_by_role("button", name="Menu")).to_be_focused()
        page.keyboard.press("Enter")
    page.get_by_role("navigation").get_by_role("link", name="Models").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Models")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    page.get_by_role("link", name="other", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("other")


def test_what_is_typed_survives_news(page: Page, daemon: DaemonProcess) -> None:
    """A field keeps its text and the focus while the view is brought up to date."""
    go(page, "Models")
    field = page.get_by_label("Model", exact=True)
    field.fill("ai/half-a-na")
    daemon.http.post("/engines/unload", json={"all": True})
    row = page.get_by_role("row").filter(has_text="other")
    expect(row).to_contain_text("not loaded")
    daemon.http.post("/engines/load", json={"models": ["other"]})
    expect(row).to_contain_text("Ready")
    expect(field).to_be_focused()
    page.keyboard.type("me")
    expect(field).to_have_value("ai/half-a-name")
