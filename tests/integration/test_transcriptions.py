"""Transcriptions over the wire, on an engine that answers every stream, and a model that hears."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.support import ggufs
from tests.support.daemon import DaemonProcess, running
from tests.support.engines import fake_engine

SOUND = {"file": ("a.wav", b"RIFF....WAVE", "audio/wav")}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with a model that has an audio projector."""
    root = tmp_path_factory.mktemp("ears")
    (root / "ears.gguf").write_bytes(ggufs.smallest_model())
    (root / "mmproj.gguf").write_bytes(ggufs.projector("audio"))
    settings = {"llama.cpp": {"path": str(fake_engine(root))}}
    with running(root, env={"RUNNERD_BACKENDS": json.dumps(settings)}) as daemon:
        body = {
            "path": str(root / "ears.gguf"),
            "mmproj": str(root / "mmproj.gguf"),
            "tag": "ears",
        }
        assert daemon.http.post("/models/import", json=body).status_code == 200
        yield daemon


def ask(daemon: DaemonProcess, **fields: str) -> httpx.Response:
    """Send a form."""
    form = {"model": "ears", **fields}
    return daemon.http.post("/v1/audio/transcriptions", data=form, files=SOUND)


def test_formats(daemon: DaemonProcess) -> None:
    """JSON unless asked otherwise; text; events."""
    assert ask(daemon).json() == {"text": "x" * 8}
    plain = ask(daemon, response_format="text")
    assert (plain.text, plain.headers["content-type"]) == ("x" * 8, "text/plain; charset=utf-8")
    streamed = ask(daemon, stream="true")
    events = [line[6:] for line in streamed.text.splitlines() if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    last = json.loads(events.pop())
    assert last == {"type": "transcript.text.done", "text": "x" * 8}
    assert "".join(json.loads(event)["delta"] for event in events) == last["text"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"response_format": "srt"}, "response_format"), ({"temperature": "warm"}, "temperature")],
)
def test_wrong_forms(daemon: DaemonProcess, fields: dict[str, str], message: str) -> None:
    """What cannot be had is refused by name."""
    answer = ask(daemon, **fields)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_what_is_no_form(daemon: DaemonProcess) -> None:
    """A body that is JSON, or only claims to be a form."""
    url = "/v1/audio/transcriptions"
    assert daemon.http.post(url, json={"model": "ears"}).status_code == 415
    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert daemon.http.post(url, content=b"nothing", headers=headers).status_code == 400
