"""Errors that a busy, bounded or ending daemon gives, as the official clients' users catch them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from runnerd.models import tiny
from tests.support.clients import anthropic_client
from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import wait_for

pytestmark = pytest.mark.engine

LONG: Any = {"model": "tiny", "prompt": "x", "max_tokens": 7000, "stream": True}
SHORT: Any = {"model": "tiny", "prompt": "x", "max_tokens": 2}
HELLO: Any = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
HUGE: Any = [{"role": "user", "content": "x" * 300_000}]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon that sends one request at a time to an engine, and takes no large bodies."""
    for name in ("tiny", "other"):
        tiny.write_completion_model(tmp_path / f"{name}.gguf", seed=len(name), context_length=8192)
    limits = {"REQUESTS_PER_RUNNER": "1", "BODY_BYTES": "200000"}
    env = {f"RUNNERD_LIMITS__{name}": value for name, value in limits.items()}
    with running(tmp_path, env=env | {"RUNNERD_OVERCOMMIT": "0"}) as daemon:
        for name in ("tiny", "other"):
            daemon.import_model(tmp_path / f"{name}.gguf", name)
        yield daemon


def client(daemon: DaemonProcess, path: str = "/v1", retries: int = 0) -> openai.OpenAI:
    """Return OpenAI's client."""
    return openai.OpenAI(base_url=daemon.address + path, api_key="unused", max_retries=retries)


@pytest.mark.covers("OpenAI errors", "429", "retries")
@pytest.mark.covers("Anthropic errors", "429")
def test_busy(daemon: DaemonProcess) -> None:
    """A refusal names when to come back, and a client that retries is answered once."""
    patient = client(daemon, retries=20)
    with client(daemon) as hasty, patient, ThreadPoolExecutor() as threads:
        stream = hasty.completions.create(**LONG)
        next(iter(stream))
        with pytest.raises(openai.RateLimitError, match="too many") as refused:
            hasty.completions.create(**SHORT)
        assert int(refused.value.response.headers["retry-after"]) >= 1
        with (
            anthropic_client(daemon) as other,
            pytest.raises(anthropic.RateLimitError),
        ):
            other.messages.create(**HELLO)
        answer = threads.submit(lambda: patient.completions.create(**SHORT))
        wait_for(lambda: statuses(daemon).count(429) >= 3, "the retrying client to be refused")
        stream.close()
        assert answer.result().choices[0].finish_reason == "length"
        assert statuses(daemon).count(200) == 2, "nothing was generated twice"


def statuses(daemon: DaemonProcess) -> list[int]:
    """Return the statuses of the requests so far."""
    return [record["status_code"] for record in daemon.http.get("/engines/requests").json()]


@pytest.mark.covers("OpenAI errors", "413", "421")
@pytest.mark.covers("Anthropic errors", "413")
def test_too_large_and_misdirected(daemon: DaemonProcess) -> None:
    """Both arrive with their status and a message that says what is wrong."""
    with client(daemon) as plain:
        plain.completions.create(**SHORT)
        with pytest.raises(openai.APIStatusError, match="200000 bytes") as large:
            plain.chat.completions.create(model="tiny", messages=HUGE)
        assert large.value.status_code == 413
    runner = daemon.ps()[0]["id"]
    with client(daemon, f"/runners/{runner}/v1") as bound:
        assert bound.completions.create(**SHORT).choices
        with pytest.raises(openai.APIStatusError, match="another model") as misdirected:
            bound.completions.create(**(SHORT | {"model": "other"}))
        assert misdirected.value.status_code == 421
    with (
        anthropic_client(daemon) as other,
        pytest.raises(anthropic.RequestTooLargeError),
    ):
        other.messages.create(model="tiny", max_tokens=2, messages=HUGE)


@pytest.mark.covers("OpenAI errors", "500", note="502 for an engine that failed, with its words")
def test_engine_that_dies(daemon: DaemonProcess) -> None:
    """A stream that breaks is an error, not a short response; the next request is served."""
    with client(daemon) as plain:
        stream = plain.completions.create(**LONG)
        next(iter(stream))
        daemon.engines()[0].kill()
        with pytest.raises(openai.APIError, match="SIGKILL"):
            list(stream)
        assert plain.completions.create(**SHORT).choices


@pytest.mark.covers("OpenAI errors", "503")
def test_daemon_that_ends(daemon: DaemonProcess) -> None:
    """While the last answers go out, new requests are told to come back."""
    assert daemon.process is not None
    with client(daemon) as first, client(daemon) as second:
        second.models.list()  # its connection is there before the listeners close
        stream = first.completions.create(**LONG)
        next(iter(stream))
        daemon.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "draining" in daemon.text(), "the daemon to drain")
        with pytest.raises((openai.InternalServerError, openai.APIConnectionError)) as refused:
            second.completions.create(**SHORT)
        if isinstance(refused.value, openai.InternalServerError):
            assert refused.value.status_code == 503
        stream.close()
    assert daemon.process.wait(timeout=30) == 0
