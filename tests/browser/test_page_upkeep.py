"""What an owner sees to on the page: leftovers, backups, archives; and batches, logins, the
catalogue, usage by model.
"""

from __future__ import annotations

import json
import sqlite3
import tarfile
from pathlib import Path

import pytest
from playwright.sync_api import Download, Page, expect

from tests.browser.conftest import go, told
from tests.browser.test_page_races import Held
from tests.support.daemon import DaemonProcess

pytestmark = pytest.mark.long


def kept(download: Download, folder: Path) -> Path:
    """Where what the browser has fetched lies."""
    path = folder / download.suggested_filename
    download.save_as(path)
    return path


def use_key(page: Page, key: str) -> None:
    """Look as somebody else."""
    page.locator("#account").click()
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_leftovers_are_removed(page: Page, daemon: DaemonProcess) -> None:
    """It takes a yes, says what is free again, and leaves the models."""
    go(page, "Models")
    page.get_by_role("button", name="Prune leftovers").click()
    page.get_by_role("dialog").get_by_role("button", name="Prune").click()
    told(page, "free again")
    assert len(daemon.http.get("/models").json()) == 2


def test_a_backup_and_back(page: Page, daemon: DaemonProcess, tmp_path: Path) -> None:
    """The database as a file; what was changed since is gone when it is restored."""
    name = f"later {page.viewport_size and page.viewport_size['width']}"
    go(page, "Users")
    with page.expect_download() as download:
        page.get_by_role("button", name="Back up").click()
    backup = kept(download.value, tmp_path)
    with sqlite3.connect(backup) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    copy.close()
    daemon.http.post("/runnerd/users", json={"name": name}).raise_for_status()
    page.get_by_role("button", name="Restore").click()
    restore = page.get_by_role("dialog").get_by_role("button", name="Restore")
    restore.click()
    told(page, "Choose a file")
    nothing = tmp_path / "nothing"
    nothing.write_text("<img src=x>")
    page.get_by_label("A file of a backup").set_input_files(nothing)
    restore.click()
    told(page, "it is not a backup of runnerd")
    page.get_by_label("A file of a backup").set_input_files(backup)
    restore.click()
    told(page, "Restored")
    assert name not in [each["name"] for each in daemon.http.get("/runnerd/users").json()]


def test_a_model_is_exported(page: Page, daemon: DaemonProcess, tmp_path: Path) -> None:
    """As an archive: fetched by the browser itself, and with a key that has to be sent."""
    user = {"name": "boss", "may": ["superuser"]}
    made = daemon.http.post("/runnerd/users", json=user).json()
    try:
        for key in ("", made["key"]):
            if key:
                use_key(page, key)
            go(page, "Models")
            page.get_by_role("link", name="tiny", exact=True).click()
            with page.expect_download() as download:
                page.get_by_role("button", name="Export tiny").click()
            with tarfile.open(kept(download.value, tmp_path)) as archive:
                assert "manifest.json" in archive.getnames()
    finally:
        daemon.http.delete(f"/runnerd/users/{made['id']}")


def test_usage_by_model(page: Page, daemon: DaemonProcess) -> None:
    """Sums by user, by model and by day; what was chosen last is shown, whatever comes late."""
    body = {"model": "tiny", "prompt": "x", "max_tokens": 3}
    daemon.http.post("/v1/completions", json=body).raise_for_status()
    go(page, "Users")
    by, sums = page.get_by_label("Sums of usage"), page.get_by_role("table", name="Usage")
    by.select_option("model")
    expect(sums).to_contain_text("tiny")
    held = Held(page, "**/runnerd/usage*by=day*")
    by.select_option("day")
    held.wait()
    by.select_option("user")
    expect(sums).not_to_contain_text("tiny")
    held.release([{"day": "1999-12-31", "requests": 1}])
    expect(sums).not_to_contain_text("1999")


def test_a_batch(page: Page, daemon: DaemonProcess, tmp_path: Path) -> None:
    """A file of requests is submitted, completes, and gives its results."""
    body = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "max_tokens": 3}
    line = {"custom_id": "one", "method": "POST", "url": "/v1/chat/completions", "body": body}
    file = tmp_path / "requests.jsonl"
    file.write_text(json.dumps(line) + "\n")
    go(page, "Jobs")
    page.get_by_role("button", name="New batch").click()
    page.get_by_label("File").set_input_files(file)
    page.get_by_role("dialog").get_by_role("button", name="Submit").click()
    told(page, "submitted")
    row = page.get_by_role("table", name="Batches").get_by_role("row").nth(1)
    expect(row).to_contain_text("completed")
    expect(row).to_contain_text("1 of 1")
    row.get_by_role("button", name="Details").click()
    expect(page.get_by_role("dialog")).to_contain_text("/v1/chat/completions")
    page.get_by_role("button", name="Close").click()
    with page.expect_download() as download:
        row.get_by_role("button", name="Results").click()
    [result] = kept(download.value, tmp_path).read_text().splitlines()
    assert json.loads(result)["custom_id"] == "one"


def test_a_batch_that_runs_is_cancelled(page: Page, daemon: DaemonProcess, tmp_path: Path) -> None:
    """What has not ended of it ends."""
    body = {"model": "tiny", "prompt": "x", "max_tokens": 8000, "ignore_eos": True}
    line = {"custom_id": "one", "method": "POST", "url": "/v1/completions", "body": body}
    http = daemon.http
    sent = {"file": ("r.jsonl", json.dumps(line)), "purpose": (None, "batch")}
    id = http.post("/v1/files", files=sent).raise_for_status().json()["id"]
    asked = {"input_file_id": id, "endpoint": "/v1/completions", "completion_window": "24h"}
    http.post("/v1/batches", json=asked).raise_for_status()
    go(page, "Jobs")
    row = page.get_by_role("table", name="Batches").get_by_role("row").nth(1)
    row.get_by_role("button", name="Cancel batch").click()
    expect(row).to_contain_text("cancelled")


def test_logins_are_a_users(page: Page, daemon: DaemonProcess) -> None:
    """An owner is told where the daemon's are; a user keeps one, sees it and forgets it."""
    go(page, "Models")
    page.get_by_text("Logins at registries").click()
    expect(page.get_by_text("docker login")).to_be_visible()
    made = daemon.http.post("/runnerd/users", json={"name": "carl", "may": ["view_llms"]}).json()
    try:
        use_key(page, made["key"])
        go(page, "Models")
        page.get_by_text("Logins at registries").click()
        page.get_by_label("Registry", exact=True).fill("registry.example")
        page.get_by_label("User name").fill("carl")
        page.get_by_label("Password or token").fill("a secret")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("table", name="Logins")).to_contain_text("registry.example")
        expect(page.get_by_label("Password or token")).to_have_value("")
        page.get_by_role("button", name="Forget the login at registry.example").click()
        told(page, "forgotten")
        expect(page.get_by_role("table", name="Logins")).to_have_count(0)
    finally:
        daemon.http.delete(f"/runnerd/users/{made['id']}")


def test_the_catalogue(page: Page, daemon: DaemonProcess) -> None:
    """Entries of models here and elsewhere, with all that is said of them."""
    here = daemon.http.get("/runnerd/catalog").json()[0]["entry"]
    said = {"id": "far", "description": "from afar", "license": "MIT", "url": "https://x.example/m"}
    daemon.http.post("/runnerd/catalog", json=here | said).raise_for_status()
    go(page, "Models")
    page.get_by_text("The catalogue").click()
    table = page.get_by_role("table", name="Catalogue")
    expect(table).to_contain_text("from afar")
    expect(table).to_contain_text("tiny")
    table.get_by_role("button", name="Details of far").click()
    expect(page.get_by_role("dialog")).to_contain_text("MIT")
    page.get_by_role("button", name="Close").click()
    table.get_by_role("button", name="Pull far").click()
    told(page, "x.example")  # which cannot be reached
