"""Images and sounds in sessions: kept with their turns, and part of every further prompt."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.media import png, wav
from tests.support.projectors import IMAGE_TOKENS, SOUND_TOKENS, write_projector
from tests.support.sessions import history, make, prompt

pytestmark = pytest.mark.engine

GREEDY = {"temperature": 0, "max_tokens": 8, "ignore_eos": True}


def image(*colour: int) -> dict[str, Any]:
    data = base64.b64encode(png(8, 8, bytes(colour) * 8)).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


RED, BLUE = image(255, 0, 0), image(0, 0, 255)
SOUND = {
    "type": "input_audio",
    "input_audio": {
        "data": base64.b64encode(wav(bytes([128]) * 8000, rate=8000, width=1)).decode(),
        "format": "wav",
    },
}
ASK = {"type": "text", "text": "What is this?"}


@contextmanager
def senses(root: Path) -> Iterator[DaemonProcess]:
    """A daemon with a model that sees and hears, and one without senses."""
    tiny.write_completion_model(root / "tiny.gguf", context_length=4096)
    write_projector(root / "mmproj.gguf")
    env = {"RUNNERD_SESSIONS__BYTES_PER_USER": "100000"}
    with running(root / "daemon", env=env) as daemon:
        said = {"path": str(root / "tiny.gguf"), "mmproj": str(root / "mmproj.gguf"), "tag": "seer"}
        daemon.http.post("/models/import", json=said).raise_for_status()
        daemon.import_model(root / "tiny.gguf", "blind")
        yield daemon


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with senses(tmp_path_factory.mktemp("senses")) as daemon:
        yield daemon


@pytest.fixture
def restarted(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon of one's own."""
    with senses(tmp_path) as daemon:
        yield daemon


def begun(http: httpx.Client, model: str = "seer", **more: Any) -> str:
    return make(http, model=model, system="", parameters=GREEDY, **more)


def asked(http: httpx.Client, id: str, said: object) -> httpx.Response:
    return http.post(f"/runnerd/sessions/{id}/prompt", json={"prompt": said})


def test_an_image_stays(restarted: DaemonProcess) -> None:
    """It is part of what the next prompt goes on from, also after a restart: word for word what a
    chat with all of it answers.
    """
    daemon, http = restarted, restarted.http
    id = begun(http)
    first = prompt(http, id, [ASK, RED])
    assert first["prompt"] == "What is this?"
    assert [each["type"] for each in first["attachments"]] == ["image_url"]
    assert first["usage"]["prompt_tokens"] >= IMAGE_TOKENS
    assert daemon.terminate() == 0
    daemon.start()
    http = daemon.http
    second = prompt(http, id, "And now?")
    messages = [
        {"role": "user", "content": [ASK, RED]},
        {"role": "assistant", "content": first["response"]},
        {"role": "user", "content": "And now?"},
    ]
    whole = http.post(
        "/v1/chat/completions", json={"model": "seer", "messages": messages, **GREEDY}
    ).json()
    assert whole["choices"][0]["message"]["content"] == second["response"]
    assert whole["usage"]["prompt_tokens"] == second["usage"]["prompt_tokens"]
    assert history(http, id) == [first, second]
    [shown, _] = http.get(f"/runnerd/sessions/{id}?media=true").json()["history"]
    assert shown["parts"] == [ASK, RED]
    other = begun(http)
    assert prompt(http, other, [ASK, BLUE])["response"] != first["response"]


def test_a_sound(daemon: DaemonProcess) -> None:
    """Those are kept, too; a prompt need not have words."""
    http = daemon.http
    id = begun(http)
    first = prompt(http, id, [SOUND])
    assert (first["prompt"], [each["type"] for each in first["attachments"]]) == (
        "",
        ["input_audio"],
    )
    assert first["usage"]["prompt_tokens"] >= SOUND_TOKENS
    assert prompt(http, id, "Again?")["usage"]["prompt_tokens"] > SOUND_TOKENS


@pytest.mark.parametrize("part", [RED, SOUND], ids=["image", "sound"])
def test_a_model_without_senses(daemon: DaemonProcess, part: dict[str, Any]) -> None:
    """It says so, and the session goes on as if nothing was said."""
    id = begun(daemon.http, "blind")
    refused = asked(daemon.http, id, [ASK, part])
    assert refused.status_code == 400
    assert "mmproj" in refused.text or "projector" in refused.text, refused.text
    assert history(daemon.http, id) == []
    assert prompt(daemon.http, id, "Hello")["number"] == 1


@pytest.mark.parametrize(
    "said",
    [
        [],
        ["What?"],
        [{"type": "video_url", "video_url": {"url": "data:,"}}],
        [{"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}}],
        [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
        [{"text": "x"}],
        {"type": "text", "text": "x"},
    ],
)
def test_what_is_no_prompt(daemon: DaemonProcess, said: object) -> None:
    """Is a 400, as in a chat, and nothing of it is kept."""
    id = begun(daemon.http)
    refused = asked(daemon.http, id, said)
    assert refused.status_code == 400, refused.text
    assert history(daemon.http, id) == []


def test_a_text_session_has_none(daemon: DaemonProcess) -> None:
    """There is no place for an image in one text."""
    id = begun(daemon.http, kind="text")
    refused = asked(daemon.http, id, [ASK, RED])
    assert (refused.status_code, "kind chat" in refused.text) == (400, True)


def test_they_count(daemon: DaemonProcess) -> None:
    """Media are part of a session's bytes, and of what one user may have."""
    http = daemon.http
    id = begun(http)
    prompt(http, id, [ASK, RED])
    assert http.get(f"/runnerd/sessions/{id}").json()["bytes"] > len(RED["image_url"]["url"])
    large = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    refused = asked(http, id, [ASK, large])
    assert (refused.status_code, "kept of one user" in refused.text) == (429, True)
    endless = {"type": "text", "text": "x" * (24 * 2**20)}
    assert asked(http, id, [endless]).status_code == 413
