"""`runnerd ui` as it is used: it prints an address, which one browser opens."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from playwright.sync_api import Browser, Page, expect

from runnerd.cli.ui import _uids
from runnerd.models import tiny
from tests.browser.conftest import go, watched
from tests.support.daemon import DaemonProcess
from tests.support.plain_http import NO_TLS
from tests.support.strangers import NOBODY, ask_as, needs_root
from tests.support.waiting import SECONDS, wait_for


@contextmanager
def ui(daemon: DaemonProcess, folder: Path) -> Iterator[str]:
    """The command, ended by Ctrl-C; the address that it prints."""
    output = folder / "ui.log"
    command = [sys.executable, "-m", "runnerd", "--host", f"unix://{daemon.socket}", "ui"]
    with open(output, "wb") as log:
        process = subprocess.Popen([*command, "--no-browser"], stdout=log, stderr=log)
    try:
        wait_for(lambda: "Ctrl-C" in output.read_text(), "the address")
        yield re.findall(r"http://\S+", output.read_text())[0]
        process.send_signal(signal.SIGINT)
        assert process.wait(60 * SECONDS) == 0, output.read_text()
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in output.read_text()


def test_the_page_over_the_socket(chromium: Browser, daemon: DaemonProcess, tmp_path: Path) -> None:
    """The owner's page without a key: it chats, shows what is loaded, and says how to ask."""
    with ui(daemon, tmp_path) as url, watched(chromium, daemon.address) as page:
        page.goto(url)
        expect(page.get_by_role("button", name="You are an owner")).to_be_visible()
        assert "token" not in page.url
        page.goto(page.url.partition("#")[0] + "#/chat")
        page.get_by_text("System prompt, parameters, tools").click()
        page.get_by_label("Most tokens").fill("7")
        page.get_by_label("Message", exact=True).fill("Hello")
        page.get_by_label("Message", exact=True).press("Enter")
        expect(page.get_by_text("7 tokens")).to_be_visible()
        page.get_by_text("The same with curl and Python").click()
        expect(page.locator(".copyable-text").first).to_contain_text(str(daemon.socket))
        cookie = page.context.cookies()
        assert [each["httpOnly"] for each in cookie if each["name"] == "runnerd_page"] == [True]
        assert httpx.get(url, verify=NO_TLS).status_code == 403  # used


def test_models_of_the_hosts_disk(
    chromium: Browser, daemon: DaemonProcess, gguf: Path, tmp_path: Path
) -> None:
    """A folder is looked through, and what is in it is taken in; over TCP it is said why not."""
    folder = tmp_path / "models"
    (folder / "deep").mkdir(parents=True)
    for name, seed in (("one", 11), ("deep/two", 12)):
        tiny.write_completion_model(folder / f"{name}.gguf", seed=seed)
    with ui(daemon, tmp_path) as url, watched(chromium, daemon.address) as page:
        page.goto(url)
        look_through(page, folder)
        table = page.get_by_role("table", name="Models in the folder")
        expect(table.get_by_role("row")).to_have_count(3)
        page.get_by_label("Use the files where they lie").check()
        table.get_by_role("button", name="Import two").click()
        expect(page.locator("#messages")).to_contain_text("imported successfully")
        expect(page.get_by_role("table", name="Models", exact=True)).to_contain_text("borrowed")
        assert daemon.http.get("/models/two").json()["borrowed_files"]
        look_through(page, tmp_path / "nowhere", again=True)
        expect(page.get_by_role("alert")).to_contain_text("cannot be read")
    daemon.http.delete("/models/two")
    with watched(chromium, daemon.address) as page:
        page.goto("/ui")
        look_through(page, folder)
        expect(page.locator("main")).to_contain_text("the page that runnerd ui opens")


def look_through(page: Page, folder: Path, *, again: bool = False) -> None:
    """Have a folder looked through."""
    if not again:
        go(page, "Models")
        page.get_by_text(re.compile("From this host.s disk")).click()
    page.get_by_label("File or folder").fill(str(folder))
    page.get_by_role("button", name="Look", exact=True).click()


@needs_root()
def test_another_user_of_the_host(daemon: DaemonProcess, tmp_path: Path) -> None:
    """Who has seen the address, and is somebody else, gets nothing, and takes nothing away."""
    with ui(daemon, tmp_path) as url:
        parts = urlsplit(url)
        response = ask_as(NOBODY, parts.netloc, "GET", f"{parts.path}?{parts.query}")
        assert response.status == 403, response
        assert httpx.get(url, verify=NO_TLS).status_code == 303


def test_whose_browsers_come_in() -> None:
    """One's own and root's."""
    assert {0, os.getuid()} <= _uids()
