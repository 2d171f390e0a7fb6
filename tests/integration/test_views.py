"""No value that is accepted anywhere breaks what others are shown."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.wire import Wire

pytestmark = pytest.mark.engine

VIEWS = (
    "/", "/api/ps", "/api/tags", "/api/version", "/engines/ps", "/engines/_configure",
    "/engines/df", "/engines/requests", "/engines/status", "/models", "/models/m", "/models/pulls",
    "/v1/models", "/engines/v1/models", "/v1/models/m", "/version", "/health",
)  # fmt: skip

NUMBERS = (
    "0", "-0", "-1", "1e12", "1000000000000", "9999999999999999999999", "-9999999999999999999999",
    "9223372036854775807", "9223372036854775808", "-9223372036854775809", "18446744073709551616",
    "1e308", "-1e308", "5e-324", "1e400", "0.1", "3153600001", "2147483648", "4294967296", "1.5",
    "253402300800", "1" * 400, '"1000000h"', '"999999999999h"', '"1e12"', '"-1"', '"100y"', "true",
)  # fmt: skip

number = st.sampled_from(NUMBERS) | st.integers().map(str) | st.floats().map(repr)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with one model."""
    folder = tmp_path_factory.mktemp("views")
    tiny.write_completion_model(folder / "m.gguf", name="m")
    with running(folder / "d") as daemon:
        daemon.import_model(folder / "m.gguf", "m")
        yield daemon


def hold(daemon: DaemonProcess, response: httpx.Response) -> None:
    """It was taken or refused in words, and everybody sees everything as before."""
    assert response.status_code < 500 or response.status_code in (501, 507), response.text
    for path in VIEWS:
        headers = {"Accept": "application/json"} if path == "/" else {}
        view = daemon.http.get(path, headers=headers)
        assert view.status_code == 200, (path, view.text)
    shown = daemon.http.post("/api/show", json={"model": "m"})
    assert shown.status_code == 200, shown.text


def send(daemon: DaemonProcess, path: str, body: str) -> httpx.Response:
    """Post text as JSON."""
    return daemon.http.post(path, content=body, headers={"Content-Type": "application/json"})


@settings(max_examples=60)
@given(value=number)
def test_any_keep_alive(daemon: DaemonProcess, value: str) -> None:
    """`keep_alive: 1000000000000` broke every list of runners."""
    hold(daemon, send(daemon, "/api/generate", f'{{"model": "m", "keep_alive": {value}}}'))
    hold(daemon, send(daemon, "/engines/_configure", f'{{"model": "m", "keep_alive": {value}}}'))


_CONFIGURED = (
    "context-size", "parallel", "min_instances", "max_instances", "pinned", "preload",
)  # fmt: skip
_DEEPER = (
    '"placement": {{"layers": {0}}}', '"placement": {{"main": {0}}}', '"force": {0}',
    '"placement": {{"shares": [{0}, {0}]}}', '"placement": {{"devices": [{0}]}}',
    '"completion_defaults": {{"temperature": {0}}}', '"completion_defaults": {{"seed": {0}}}',
    '"forced_parameters": {{"max_tokens": {0}, "top_k": {0}}}',
    '"llamacpp": {{"reasoning-budget": {0}}}',
    '"completion_defaults": {{"chat_template_kwargs": {{"a": {0}}}}}',
)  # fmt: skip
_CHANGES = [f'"{name}": {{0}}' for name in _CONFIGURED] + [*_DEEPER]


@settings(max_examples=60)
@given(value=number, field=st.sampled_from(_CHANGES))
def test_any_configuration(daemon: DaemonProcess, field: str, value: str) -> None:
    """What an owner sets is shown again, whatever it is; and taken back."""
    body = '{"model": "m", ' + field.format(value) + "}"
    hold(daemon, send(daemon, "/engines/_configure", body))
    names = ("context-size", "parallel", "min_instances", "max_instances", "pinned", "preload",
             "placement", "completion_defaults", "forced_parameters", "runtime-flags")  # fmt: skip
    back = daemon.http.post("/engines/_configure", json={"model": "m", **dict.fromkeys(names)})
    assert back.status_code == 202, back.text


_OPTIONS = ("num_ctx", "seed", "temperature", "top_k", "num_predict", "num_batch", "unheard_of")


@settings(max_examples=40)
@given(value=number, option=st.sampled_from(_OPTIONS))
def test_any_parameter_of_a_model(daemon: DaemonProcess, option: str, value: str) -> None:
    """A made model is listed and shown."""
    made = send(
        daemon, "/api/create",
        f'{{"model": "made", "from": "m", "stream": false, "parameters": {{"{option}": {value}}}}}',
    )  # fmt: skip
    hold(daemon, made)
    if made.status_code == 200:
        shown = daemon.http.post("/api/show", json={"model": "made"})
        assert shown.status_code == 200, shown.text
        assert daemon.http.get("/models/made").status_code == 200
        daemon.http.request("DELETE", "/api/delete", json={"model": "made"})


_CHAT = '"messages": [{{"role": "user", "content": "x"}}], "max_tokens": 1, "{0}": {1}'
_GENERATE = '"prompt": "x", "stream": false, "options": {{"num_predict": 1, "{0}": {1}}}'
_REQUESTS = (
    ("/v1/completions", '"prompt": "x", "max_tokens": 1, "{0}": {1}'),
    ("/v1/chat/completions", _CHAT),
    ("/v1/embeddings", '"input": "x", "{0}": {1}'),
    ("/v1/responses", '"input": "x", "max_output_tokens": 1, "{0}": {1}'),
    ("/v1/messages", _CHAT),
    ("/api/generate", _GENERATE),
    ("/api/embed", '"input": "x", "{0}": {1}'),
)  # fmt: skip
_FIELDS = (
    "n", "seed", "top_k", "top_p", "temperature", "logprobs", "top_logprobs", "dimensions", "stop",
    "presence_penalty", "num_ctx", "repeat_last_n", "min_p", "best_of", "truncate", "n_probs",
)  # fmt: skip


@settings(max_examples=80)
@given(value=number, field=st.sampled_from(_FIELDS), request=st.sampled_from(_REQUESTS))
def test_any_number_in_a_request(
    daemon: DaemonProcess, field: str, value: str, request: tuple[str, str]
) -> None:
    """What is asked for may be refused; nobody else notices."""
    path, members = request
    body = '{"model": "m", ' + members.format(field, value) + "}"
    hold(daemon, send(daemon, path, body))


@pytest.mark.parametrize("moment", [2**40, 2**33, -(2**40), 0])
def test_any_time_of_a_file(daemon: DaemonProcess, tmp_path: Path, moment: int) -> None:
    """A file that was written in the year 36812 is imported as one of today."""
    path = tmp_path / "old.gguf"
    tiny.write_completion_model(path, name=f"old{moment}", seed=abs(moment) % 97)
    os.utime(path, (moment, moment))
    model = daemon.import_model(path, "old")
    assert 0 <= model["created"] <= time.time()
    hold(daemon, daemon.http.get("/v1/models", headers={"anthropic-version": "2023-06-01"}))
    daemon.http.delete("/models/old")


def test_views_are_all_there_are(daemon: DaemonProcess, tmp_path: Path) -> None:
    """Each of the paths above is a view; a connection that asked for all of them goes on."""
    with Wire(daemon.socket) as wire:
        for path in VIEWS:
            wire.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert wire.read().status == 200
