"""Models on the page: loading, unloading, pinning, names, configuring, pulling, removing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import go, told
from tests.support.daemon import DaemonProcess
from tests.support.fileserver import FileServer, serving
from tests.support.waiting import wait_for


@pytest.fixture(autouse=True)
def nothing_loaded(daemon: DaemonProcess) -> None:
    """Begin without a loaded model."""
    daemon.http.post("/engines/unload", json={"all": True, "force": True})


@pytest.fixture
def server(gguf: Path, look: str) -> Iterator[FileServer]:
    """A server with a model, which is another one for each look."""
    with serving((gguf / "tiny.gguf").read_bytes() + bytes(2**22) + look.encode()) as server:
        yield server


def test_load_and_unload(page: Page, daemon: DaemonProcess) -> None:
    """A model is loaded and unloaded with its buttons, and its state follows."""
    go(page, "Models")
    row = page.get_by_role("row").filter(has_text="tiny")
    row.get_by_role("button", name="Load tiny").click()
    told(page, "tiny is loaded")
    expect(row).to_contain_text("Ready")
    assert [each["model_name"] for each in daemon.ps()] == ["ai/tiny:latest"]
    row.get_by_role("button", name="Unload tiny").click()
    told(page, "tiny is unloaded")
    expect(row).to_contain_text("not loaded")
    assert daemon.ps() == []


def test_overview_follows_what_others_do(page: Page, daemon: DaemonProcess) -> None:
    """What is loaded elsewhere appears by itself, with its memory; it is pinned and unloaded."""
    expect(page.get_by_text("No model is loaded")).to_be_visible()
    daemon.http.post("/engines/load", json={"models": ["other"]})
    table = page.get_by_role("table", name="Loaded models")
    expect(table).to_contain_text("other")
    expect(table).to_contain_text("Ready")
    expect(page.get_by_role("img", name="Held by models")).to_be_visible()
    expect(page.locator("main")).to_contain_text("Models take")  # on the disk
    expect(page.locator("main")).to_contain_text(str(daemon.state_dir))
    table.get_by_role("button", name="Pin other", exact=True).click()
    told(page, "pinned")
    expect(table).to_contain_text("never, pinned")
    table.get_by_role("button", name="Unpin other").click()
    expect(table.get_by_role("button", name="Pin other", exact=True)).to_be_visible()
    table.get_by_role("button", name="Unload other").click()
    expect(page.get_by_text("No model is loaded")).to_be_visible()


def test_names(page: Page, daemon: DaemonProcess) -> None:
    """A model gets one more name, which is taken away again."""
    go(page, "Models")
    page.get_by_role("link", name="tiny", exact=True).click()
    page.get_by_label("One more name").fill("team/second:v2")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_text("team/second:v2", exact=True)).to_be_visible()
    assert daemon.http.get("/models/team/second:v2").status_code == 200
    page.get_by_role("button", name="Remove the name team/second:v2").click()
    told(page, "is removed")
    assert daemon.http.get("/models/team/second:v2").status_code == 404


def test_configure(page: Page, daemon: DaemonProcess) -> None:
    """Every field of the daemon's schema is in the form; what is changed is set, the rest stays."""
    schema = daemon.http.get("/runnerd/configuration/schema").json()
    go(page, "Models")
    page.get_by_role("link", name="tiny", exact=True).click()
    expect(page.get_by_text("How it is kept")).to_be_visible()
    for title in ("How it is started", "How it is kept", "How it is asked"):
        if page.locator("details[open]").filter(has_text=title).count() == 0:
            page.get_by_text(title).click()
    for name, about in schema["properties"].items():
        field = page.get_by_label(name, exact=True).or_(page.get_by_role("group", name=name))
        expect(field.first).to_be_visible()
        expect(page.get_by_text(about["description"], exact=True).first).to_be_visible()
    for name, about in schema["$defs"]["CompletionParameters"]["properties"].items():
        defaults = page.get_by_role("group", name="completion_defaults")
        expect(defaults.get_by_label(name, exact=True)).to_be_visible()
        expect(defaults.get_by_text(about["description"], exact=True)).to_be_visible()
    page.get_by_label("context-size", exact=True).fill("2048")
    page.get_by_label("keep_alive", exact=True).fill("7m")
    page.get_by_label("pinned", exact=True).select_option("true")
    page.get_by_role("group", name="completion_defaults").get_by_label("temperature").fill("0.5")
    page.get_by_role("button", name="Save").click()
    told(page, "is configured")
    assert configured(daemon) == {
        "context-size": 2048,
        "keep_alive": "7m0s",
        "pinned": True,
        "completion_defaults": {"temperature": 0.5},
    }
    page.get_by_label("context-size", exact=True).fill("99")
    page.get_by_label("keep_alive", exact=True).fill("sometimes")
    page.get_by_role("button", name="Save").click()
    told(page, "keep_alive")
    page.get_by_label("keep_alive", exact=True).fill("")
    page.get_by_label("context-size", exact=True).fill("")
    page.get_by_label("pinned", exact=True).select_option("")
    page.get_by_role("group", name="completion_defaults").get_by_label("temperature").fill("")
    page.get_by_role("button", name="Save").click()
    wait_for(lambda: configured(daemon) == {}, "the defaults to be back")


def configured(daemon: DaemonProcess) -> object:
    """What is configured for the first model."""
    found = daemon.http.get("/engines/_configure", params={"model": "tiny"}).json()
    return found[0]["Config"] if found else {}


def test_pull_with_progress_and_cancel(
    page: Page, daemon: DaemonProcess, server: FileServer, look: str
) -> None:
    """A pull shows how far it is, is cancelled, begun again, and the model is there."""
    release = threading.Event()
    server.behaviour.pace = lambda sent: (release.wait(60), None)[1]
    name = f"pulled-{look}"
    go(page, "Models")
    page.get_by_label("Model", exact=True).fill(server.url(f"/{name}.gguf"))
    page.get_by_role("button", name="Pull", exact=True).click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    page.get_by_role("button", name="Cancel the pull").click()
    told(page, "cancelled")
    expect(page.get_by_role("progressbar")).to_have_count(0)
    assert daemon.http.get("/models/pulls").json() == []
    release.set()
    page.get_by_label("Model", exact=True).fill(server.url(f"/{name}.gguf"))
    page.get_by_role("button", name="Pull", exact=True).click()
    expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()


def test_whether_it_fits(page: Page, daemon: DaemonProcess, server: FileServer) -> None:
    """What a model needs is told before it is pulled, and of one that is here for other numbers."""
    go(page, "Models")
    expect(page.get_by_role("row").filter(has_text="tiny").first).to_contain_text("up to 8,192")
    page.get_by_label("Model", exact=True).fill(server.url("/far.gguf"))
    page.get_by_role("button", name="Does it fit?").click()
    expect(page.get_by_text("fits now")).to_be_visible()
    assert all(
        "far" not in tag for each in daemon.http.get("/models").json() for tag in each["tags"]
    )
    page.get_by_role("link", name="tiny", exact=True).click()
    expect(page.get_by_text("8,192 tokens").first).to_be_visible()
    page.get_by_label("With a context of").fill("1024")
    page.get_by_label("With requests at a time").fill("2")
    page.get_by_role("button", name="Reckon").click()
    expect(page.get_by_text("1,024 tokens")).to_be_visible()


def test_pull_that_is_refused(page: Page) -> None:
    """Why a pull cannot begin is told in the daemon's words."""
    go(page, "Models")
    page.get_by_label("Model", exact=True).fill("https://10.0.0.1/x.gguf")
    page.get_by_role("button", name="Pull", exact=True).click()
    told(page, "allowed_sources")


def test_remove(page: Page, daemon: DaemonProcess, gguf: Path, look: str) -> None:
    """A model is removed once somebody has said yes, and not when it is escaped."""
    name = f"doomed-{look}"
    copy = gguf / f"{name}.gguf"
    content = bytearray((gguf / "tiny.gguf").read_bytes())
    content[-1] ^= 1 if look.startswith("wide") else 2
    copy.write_bytes(content)
    daemon.import_model(copy, name)
    go(page, "Models")
    page.get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_text("in the store", exact=True)).to_be_visible()
    page.get_by_role("button", name="Remove this model").click()
    expect(page.get_by_role("dialog")).to_contain_text("frees what no other model shares")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert daemon.http.get(f"/models/{name}").status_code == 200
    page.get_by_role("button", name="Remove this model").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove it").click()
    told(page, f"{name} is removed")
    expect(page.get_by_role("heading", level=1)).to_have_text("Models")
    assert daemon.http.get(f"/models/{name}").status_code == 404


def test_remove_a_borrowed_one(
    page: Page, daemon: DaemonProcess, tmp_path: Path, gguf: Path, look: str
) -> None:
    """The page says whose the files are, before it asks and when it does; and they stay."""
    name, theirs = f"theirs-{look}", tmp_path / "theirs.gguf"
    content = bytearray((gguf / "tiny.gguf").read_bytes())
    content[-1] ^= 4 if look.startswith("wide") else 8
    theirs.write_bytes(content)
    document = {"path": str(theirs), "tag": name, "borrow": True}
    daemon.http.post("/models/import", json=document).raise_for_status()
    go(page, "Models")
    expect(page.get_by_role("row").filter(has_text=name)).to_contain_text("borrowed")
    expect(page.get_by_role("row").filter(has_text="other")).not_to_contain_text("borrowed")
    page.get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_text("used where they lie")).to_be_visible()
    expect(page.get_by_text(str(theirs), exact=True)).to_be_visible()
    expect(page.get_by_text("leaves its borrowed files where they are")).to_be_visible()
    page.get_by_role("button", name="Remove this model").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("leaves its borrowed files where they are")
    expect(dialog).not_to_contain_text("deleted")
    dialog.get_by_role("button", name="Remove it").click()
    told(page, f"{name} is removed")
    assert daemon.http.get(f"/models/{name}").status_code == 404
    assert theirs.read_bytes() == content
