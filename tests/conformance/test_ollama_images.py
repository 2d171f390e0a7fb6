"""Images over Ollama's API: to a model that sees, made here of weights and a projector."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator

import httpx
import ollama
import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.ggufs import tiny_projector

pytestmark = pytest.mark.engine

_OPTIONS = {"num_predict": 8, "temperature": 0}
_SEEN = 16  # tokens that the projector makes of an image


def png(red: int, green: int, blue: int) -> bytes:
    """Return a picture of one colour."""

    def part(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    row = b"\0" + bytes((red, green, blue)) * 8
    head = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head)
    return start + part(b"IDAT", zlib.compress(row * 8)) + part(b"IEND", b"")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with a model that was created of two files in any order."""
    root = tmp_path_factory.mktemp("images")
    tiny.write_completion_model(root / "tiny.gguf")
    tiny_projector(root / "mmproj.gguf")
    with running(root / "daemon") as daemon:
        client = ollama.Client(host=daemon.address)
        files = {name: client.create_blob(root / name) for name in ("mmproj.gguf", "tiny.gguf")}
        client.create("seer", files=files)
        client._client.close()
        yield daemon


@pytest.fixture
def client(daemon: DaemonProcess) -> Iterator[ollama.Client]:
    """Ollama's client."""
    client = ollama.Client(host=daemon.address, timeout=60)
    yield client
    client._client.close()


@pytest.mark.covers("POST /api/chat", "images")
@pytest.mark.covers("POST /api/generate", "images")
def test_images_are_seen(client: ollama.Client) -> None:
    """Each takes its tokens, and another picture makes another answer."""
    assert "vision" in (client.show("seer").capabilities or [])
    blind = client.generate("seer", "Look", options=_OPTIONS)
    red, blue = png(255, 0, 0), png(0, 0, 255)
    said = []
    for picture in (red, blue):
        answer = client.generate("seer", "Look", images=[picture], options=_OPTIONS)
        assert (answer.prompt_eval_count or 0) >= (blind.prompt_eval_count or 0) + _SEEN
        asked = [{"role": "user", "content": "Look", "images": [picture]}]
        chat = client.chat("seer", asked, options=_OPTIONS)
        assert chat.message.content == answer.response
        streamed = client.chat("seer", asked, options=_OPTIONS, stream=True)
        assert "".join(part.message.content or "" for part in streamed) == answer.response
        said.append(answer.response)
    assert said[0] != said[1]
    both = client.generate("seer", "Look", images=[red, blue], options=_OPTIONS)
    assert (both.prompt_eval_count or 0) >= (blind.prompt_eval_count or 0) + 2 * _SEEN


@pytest.mark.parametrize(
    "image", ["no base64!", base64.b64encode(b"no picture").decode(), "", 3, None]
)
def test_what_is_no_image_is_refused(daemon: DaemonProcess, image: object) -> None:
    """With a 4xx, and the model goes on."""
    body = {"model": "seer", "prompt": "Look", "images": [image], "stream": False}
    url = f"{daemon.address}/api/generate"
    answer = httpx.post(url, json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]
    assert httpx.post(url, json={**body, "images": []}).status_code == 200
