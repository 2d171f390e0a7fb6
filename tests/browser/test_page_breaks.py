"""What a page does when the daemon goes and comes back, and what it costs while nobody looks."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import go, watched
from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import wait_for

pytestmark = pytest.mark.long


def test_the_daemon_goes_and_comes_back(chromium: Browser, gguf: Path, tmp_path: Path) -> None:
    """It says that nobody answers, and catches up by itself with what happened meanwhile."""
    with running(tmp_path / "d") as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        address = daemon.address
        with watched(chromium, address) as page:
            page.goto("/ui")
            expect(page.get_by_text("No model is loaded")).to_be_visible()
            daemon.kill()
            expect(page.get_by_role("status").first).to_contain_text("No connection")
            daemon.start("--listen", address.removeprefix("http://"))
            daemon.http.post("/engines/load", json={"models": ["tiny"]})
            expect(page.get_by_role("table", name="Loaded models")).to_contain_text("tiny")
            expect(page.get_by_role("status").first).to_be_empty()
            go(page, "Logs")
            expect(page.get_by_role("log", name="Log")).to_contain_text("listening on")


HIDE = """hidden => {
  Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}"""


def test_nobody_looks(page: Page, daemon: DaemonProcess) -> None:
    """A page that is not seen asks for nothing, and is up to date when it is seen again."""
    go(page, "Overview")
    daemon.http.post("/engines/unload", json={"all": True, "force": True})
    expect(page.get_by_text("No model is loaded")).to_be_visible()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate(HIDE, True)
    daemon.http.post("/engines/load", json={"models": ["tiny"]})
    wait_for(lambda: daemon.ps()[0]["state"] == "ready", "the model to be loaded")
    expect(page.get_by_text("No model is loaded")).to_be_visible()
    assert asked == []
    page.evaluate(HIDE, False)
    expect(page.get_by_role("table", name="Loaded models")).to_contain_text("tiny")
    assert any(url.endswith("/runnerd/events") for url in asked)
