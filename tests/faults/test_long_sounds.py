"""Sounds of few bytes that an engine would decode to hours."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.engines import fake_engine

pytestmark = pytest.mark.long

HEAD = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 0, b"WAVE", b"fmt ", 16, 1, 1, 1, 0, 2, 16)
SOUND = HEAD + b"data" + bytes(100_000)  # one sample a second
TEXT = base64.b64encode(SOUND).decode()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon on the fake engine."""
    folder = tmp_path_factory.mktemp("sounds")
    tiny.write_completion_model(folder / "tiny.gguf")
    settings = {"llama.cpp": {"path": str(fake_engine(folder))}}
    with running(folder, env={"RUNNERD_BACKENDS": json.dumps(settings)}) as daemon:
        daemon.import_model(folder / "tiny.gguf", "tiny")
        yield daemon


PART = {"type": "input_audio", "input_audio": {"data": TEXT, "format": "wav"}}


@pytest.mark.parametrize(
    ("path", "how"),
    [
        ("/v1/chat/completions", {"json": {"messages": [{"role": "user", "content": [PART]}]}}),
        ("/api/chat", {"json": {"messages": [{"role": "user", "images": [TEXT]}]}}),
        ("/api/generate", {"json": {"prompt": "x", "images": [TEXT]}}),
        ("/v1/audio/transcriptions", {"files": {"file": SOUND}, "data": {}}),
    ],
)
def test_sound_of_hours_is_refused_on_every_route(
    daemon: DaemonProcess, path: str, how: dict[str, Any]
) -> None:
    """Before anything is loaded for it."""
    next(iter(how.values() if "json" in how else [how["data"]]))["model"] = "tiny"
    response = daemon.http.post(path, **how)
    assert response.status_code == 413, response.text
    assert "longer than 3600 s" in response.text
    assert daemon.ps() == []
