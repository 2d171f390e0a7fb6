"""Images in the page's chat with a model that sees: chosen, pasted, dropped, taken away again."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.browser.conftest import go
from tests.browser.test_page_chat import PICTURE, columns, limit, say
from tests.support.daemon import DaemonProcess, running
from tests.support.projectors import write_projector

pytestmark = pytest.mark.long

# Gives the page a picture as a browser does when somebody pastes or drops one.
GIVE = """([kind, data]) => {
  const bytes = Uint8Array.from(atob(data), each => each.charCodeAt(0));
  const given = new DataTransfer();
  given.items.add(new File([bytes], 'a.png', {type: 'image/png'}));
  const event = kind === 'paste'
    ? new ClipboardEvent('paste', {clipboardData: given, bubbles: true, cancelable: true})
    : new DragEvent('drop', {dataTransfer: given, bubbles: true, cancelable: true});
  const place = kind === 'paste' ? '.composer textarea' : '.chat-log';
  document.querySelector(place).dispatchEvent(event);
  return event.defaultPrevented;
}"""


@pytest.fixture(scope="module")
def daemon(gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with a model that sees."""
    root = tmp_path_factory.mktemp("d")
    projector = write_projector(root / "mmproj.gguf")
    with running(root / "daemon") as daemon:
        asked = {"path": str(gguf / "tiny.gguf"), "tag": "seer", "mmproj": str(projector)}
        daemon.http.post("/models/import", json=asked).raise_for_status()
        yield daemon


def give(page: Page, kind: str) -> bool:
    """Paste or drop the picture; whether the page took it."""
    return bool(page.evaluate(GIVE, [kind, base64.b64encode(PICTURE).decode()]))


def test_images_reach_a_model_that_sees(page: Page, daemon: DaemonProcess) -> None:
    """One is chosen, one pasted, one dropped; one is taken away with the keyboard; two are seen."""
    go(page, "Chat")
    limit(page, 4)
    files: list[FilePayload] = [{"name": "a.png", "mimeType": "image/png", "buffer": PICTURE}]
    page.locator("input[type=file]").set_input_files(files)
    expect(page.get_by_role("button", name="Remove image 1")).to_be_visible()
    give(page, "paste")
    expect(page.get_by_role("button", name="Remove image 2")).to_be_visible()
    assert give(page, "drop")
    third = page.get_by_role("button", name="Remove image 3")
    third.focus()
    page.keyboard.press("Enter")
    expect(third).to_have_count(0)
    expect(page.locator(".composer").get_by_role("img")).to_have_count(2)
    say(page, "What do you see?")
    expect(page.get_by_text("4 tokens")).to_be_visible()
    expect(columns(page).get_by_role("img")).to_have_count(2)
    expect(columns(page).get_by_role("alert")).to_have_count(0)
    ended = daemon.http.get("/engines/requests").json()[-1]
    assert (ended["status_code"], ended["completion_tokens"]) == (200, 4)
    assert ended["prompt_tokens"] > 2 * 16  # 16 tokens for each image
