"""The hub and registries on the page: looking for models, pulling what was found, pushing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import go, told
from tests.support.daemon import DaemonProcess, running
from tests.support.fileserver import answer_with
from tests.support.hub import HubServer, running_hub
from tests.support.ports import reserved_port
from tests.support.registry import RegistryProcess, running_registry

pytestmark = pytest.mark.long

FOUND = "huggingface.co/org/Tiny-GGUF"


@pytest.fixture(scope="module")
def hub(gguf: Path) -> Iterator[HubServer]:
    with running_hub({"tiny-Q4_K_M.gguf": (gguf / "tiny.gguf").read_bytes()}) as hub:
        yield hub


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    with running_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="module")
def daemon(
    hub: HubServer,
    registry: RegistryProcess,
    gguf: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DaemonProcess]:
    """A daemon whose hub is a small one."""
    env = {
        "RUNNERD_HUB_ENDPOINT": hub.endpoint,
        "RUNNERD_ALLOWED_SOURCES": '["127.0.0.1", "localhost"]',
        "RUNNERD_INSECURE_REGISTRIES": f'["{hub.server.host}", "{registry.host}"]',
    }
    with running(tmp_path_factory.mktemp("d"), env=env) as daemon:
        daemon.import_model(gguf / "other.gguf", "other")
        yield daemon


def search(page: Page, words: str) -> None:
    """Look for words on the hub."""
    go(page, "Models")
    page.get_by_label("Search the hub").fill(words)
    page.get_by_label("Search the hub").press("Enter")


def test_a_model_is_found_and_pulled(page: Page, daemon: DaemonProcess) -> None:
    """What the hub has is listed; whether it fits is asked for; Pull brings it into the store."""
    search(page, "tiny")
    row = page.get_by_role("table", name="Found on the hub").get_by_role("row").nth(1)
    expect(row).to_contain_text(FOUND)
    expect(row).to_contain_text("1,234")
    expect(row).to_contain_text("asks for a login")
    row.get_by_role("button", name=f"Does {FOUND} fit?").click()
    expect(row).to_contain_text("fits now")
    row.get_by_role("button", name=f"Pull {FOUND}").click()
    expect(page.get_by_role("table", name="Models")).to_contain_text("org/tiny-gguf")
    for each in daemon.http.get("/models").json():
        if "tiny-gguf" in " ".join(each["tags"]):
            daemon.http.delete(f"/models/{each['id']}").raise_for_status()


def test_nothing_is_found(page: Page) -> None:
    """It says so, with the words."""
    search(page, "no such model")
    expect(
        page.get_by_text("The hub has no GGUF model whose name has “no such model”.")
    ).to_be_visible()


def test_a_hub_that_does_not_answer(page: Page, hub: HubServer) -> None:
    """Is told of in the daemon's words, and the next search is shown again."""
    hub.instead = answer_with(b"<html>")
    try:
        search(page, "tiny")
        expect(page.get_by_role("alert")).to_contain_text(
            "does not answer a search as the hub does"
        )
    finally:
        hub.instead = None
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.get_by_role("table", name="Found on the hub")).to_contain_text(FOUND)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_model_is_pushed(page: Page, daemon: DaemonProcess, registry: RegistryProcess) -> None:
    """It goes to the registry in its name, and the page tells the end."""
    name = f"{registry.host}/team/pushed"
    daemon.http.post("/models/other/tag", params={"repo": name, "tag": "v1"})
    page.evaluate("location.hash = '#/models/other'")
    page.get_by_role("button", name=f"Push {name}:v1").click()
    told(page, "pushed:v1")
    assert registry.tags("team/pushed") == ["v1"]


def test_a_push_that_fails(page: Page, daemon: DaemonProcess) -> None:
    """A registry that cannot be reached is told of in the daemon's words."""
    with reserved_port() as port:
        name = f"127.0.0.1:{port}/team/other"
        daemon.http.post("/models/other/tag", params={"repo": name, "tag": "v1"})
        page.evaluate("location.hash = '#/models/other'")
        page.get_by_role("button", name=f"Push {name}:v1").click()
        told(page, f"127.0.0.1:{port}")
        expect(page.get_by_role("button", name=f"Push {name}:v1")).to_be_enabled()
