"""Images that take more than they say: no engine sees them, and none takes long to refuse."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.hostile_images import png_bomb, scans, webp_canvas
from tests.support.projectors import create_seer

pytestmark = [pytest.mark.engine, pytest.mark.long]

MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with a model that sees."""
    root = tmp_path_factory.mktemp("images")
    with running(root / "daemon") as daemon:
        create_seer(daemon, root)
        yield daemon


COMMENTS = (b"\xff\xfe\xff\xff" + bytes(65533)) * 4
HUGE = scans(16384, 16384, 1)
HOSTILE: dict[str, tuple[list[bytes], int, str]] = {
    "a PNG that holds more": ([png_bomb(400 * MEBIBYTE)], 400, "more than its size says"),
    "Apple's PNG": ([png_bomb(400 * MEBIBYTE, apple=True)], 400, "more than its size says"),
    "scans": ([scans(8192, 8192, 400)], 400, "scans"),
    "a size behind comments": ([HUGE[:2] + COMMENTS + HUGE[2:]], 413, "pixels"),
    "a canvas": ([webp_canvas(8000, 8000)], 400, "million pixels"),
    "canvases": ([webp_canvas(5792, 5792)] * 5, 413, "pixels"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_who_takes_more_than_it_says_is_refused(daemon: DaemonProcess, name: str) -> None:
    """In each API, with the reason, before an engine or the process for WebP images has it."""
    images, status, reason = HOSTILE[name]
    texts = [base64.b64encode(image).decode() for image in images]
    urls = [{"type": "image_url", "image_url": {"url": f"data:;base64,{text}"}} for text in texts]
    sources = [{"type": "base64", "media_type": "image/webp", "data": text} for text in texts]
    blocks = [{"type": "image", "source": source} for source in sources]
    asked = {"model": "seer", "max_tokens": 1}
    for path, message in (
        ("/v1/chat/completions", {"role": "user", "content": urls}),
        ("/v1/messages", {"role": "user", "content": blocks}),
        ("/api/chat", {"role": "user", "content": "Look", "images": texts}),
    ):
        response = daemon.http.post(path, json={**asked, "messages": [message]})
        assert response.status_code == status, (path, response.text)
        assert reason in response.text
    said = {"role": "user", "content": "Hello"}
    assert daemon.http.post("/v1/chat/completions", json={**asked, "messages": [said]}).is_success
    assert "hang_timeout" not in daemon.text()
