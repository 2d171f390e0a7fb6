"""A real Chromium, driven by Playwright, on the page of a real daemon.

Each test runs on a wide light page and on a narrow dark one.  Whatever the page does that it must
not (a script error, a refusal by its own policy, a dialog, a title that an attack has set) fails
the test that it happens in.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Dialog,
    Error,
    Page,
    expect,
    sync_playwright,
)

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import SECONDS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
SIZES = {"wide": (1280, 800), "phone": (360, 740)}

expect.set_options(timeout=20_000 * SECONDS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder, and skip it where there is no browser."""
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        item.add_marker(pytest.mark.browser)
        item.add_marker(pytest.mark.engine)
        if CHROMIUM is None:
            item.add_marker(pytest.mark.skip(reason="there is no chromium: apt install chromium"))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser.  For one module: as long as it is there, its driver has the thread's loop."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny models."""
    folder = tmp_path_factory.mktemp("gguf")
    tiny.write_completion_model(folder / "tiny.gguf", context_length=8192)
    tiny.write_completion_model(folder / "other.gguf", name="other", seed=1)
    return folder


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, gguf: Path) -> Iterator[DaemonProcess]:
    """A daemon with two models."""
    env = {"RUNNERD_ALLOWED_SOURCES": '["127.0.0.1"]'}
    with running(tmp_path_factory.mktemp("d"), env=env) as daemon:
        for name in ("tiny", "other"):
            daemon.import_model(gguf / f"{name}.gguf", name)
        yield daemon


@pytest.fixture(params=["wide-light", pytest.param("phone-dark", marks=pytest.mark.long)])
def look(request: pytest.FixtureRequest) -> str:
    """How wide the page is, and whether it is light."""
    return str(request.param)


@pytest.fixture
def page(chromium: Browser, daemon: DaemonProcess, look: str) -> Iterator[Page]:
    """The owner's page."""
    with watched(chromium, daemon.address, look) as page:
        page.goto(f"{daemon.address}/ui")
        yield page


class watched:
    """A fresh page, and that it did nothing that it must not."""

    def __init__(self, browser: Browser, base: str, look: str = "wide-light") -> None:
        size, scheme = look.split("-")
        width, height = SIZES[size]
        self._context = browser.new_context(
            base_url=base,
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
            reduced_motion="reduce",
        )
        self._context.set_default_timeout(20_000 * SECONDS)
        self._wrong: list[str] = []

    def __enter__(self) -> Page:
        page = self._page = self._context.new_page()
        page.on("pageerror", self._failed)
        page.on("dialog", self._asked)
        page.on("console", self._said)
        return page

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                assert "pwned" not in self._page.title()
                assert self._wrong == []
        finally:
            self._context.close()

    def _failed(self, error: Error) -> None:
        self._wrong.append(f"a script failed: {error}")

    def _asked(self, dialog: Dialog) -> None:
        self._wrong.append("a dialog")
        dialog.dismiss()

    def _said(self, message: ConsoleMessage) -> None:
        refusal_by_the_daemon = message.text.startswith("Failed to load resource")
        if message.type in ("error", "warning") and not refusal_by_the_daemon:
            self._wrong.append(message.text)


def go(page: Page, view: str) -> None:
    """Open a view by its place in the menu."""
    menu = page.get_by_role("button", name="Menu")
    if menu.is_visible():
        menu.click()
    page.get_by_role("navigation").get_by_role("link", name=view).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(view)


def told(page: Page, text: str) -> None:
    """Wait until the page has told something."""
    expect(page.locator("#messages")).to_contain_text(text)
