"""Engines that answer for their health and nothing else, because one request keeps them busy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.engines import fake_engine
from tests.support.waiting import wait_for
from tests.support.wire import Wire, post

SHORT = {"model": "tiny", "prompt": "x", "max_tokens": 1, "stream": True}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon on the fake engine that notices a hang quickly."""
    tiny.write_completion_model(tmp_path / "tiny.gguf")
    settings = {"llama.cpp": {"path": str(fake_engine(tmp_path)), "stop_grace": 0.5}}
    env = {"RUNNERD_HANG_TIMEOUT": "1", "RUNNERD_BACKENDS": json.dumps(settings)}
    with running(tmp_path, env=env) as daemon:
        daemon.import_model(tmp_path / "tiny.gguf", "tiny")
        yield daemon


@pytest.mark.parametrize("stuck", ["work", "spin"])
def test_an_engine_that_is_caught_in_a_request_is_replaced(
    daemon: DaemonProcess, stuck: str
) -> None:
    """Its health is answered all the while: by another thread than the one that does the work."""
    daemon.http.post("/v1/completions", json=SHORT)
    [engine] = daemon.engines()
    response = daemon.http.post("/v1/completions", json=SHORT | {"raw": "", "then": stuck})
    assert response.status_code == 504, response.text
    assert "no sign of life" in response.json()["error"]["message"]
    assert daemon.http.post("/v1/completions", json=SHORT).status_code == 200
    assert not engine.is_running()


def test_a_client_that_leaves_frees_the_engine_from_what_it_was_doing(
    daemon: DaemonProcess,
) -> None:
    """Nobody else has to ask, or wait, for it to be replaced."""
    daemon.http.post("/v1/completions", json=SHORT)
    [engine] = daemon.engines()
    with Wire(daemon.socket) as wire:
        wire.send(post("/v1/completions", SHORT | {"raw": "", "then": "work"}))
        wait_for(lambda: daemon.ps()[0]["in_use"], "the request to be at its engine")
    wait_for(lambda: not engine.is_running(), "its engine to be ended")


def test_who_leaves_an_engine_that_hangs_is_refused_the_third_time(daemon: DaemonProcess) -> None:
    """By the shape of what it asked for, whatever its prompt is."""
    daemon.http.post("/v1/completions", json=SHORT)
    hangs = SHORT | {"raw": "", "then": "work", "grammar": "root ::= " + '"a" ' * 20}
    for number in range(2):
        [engine] = daemon.engines()
        with Wire(daemon.socket) as wire:
            wire.send(post("/v1/completions", hangs | {"prompt": str(number)}))
            wait_for(lambda: daemon.ps()[0]["in_use"], "the request to be at its engine")
        engine.wait(60)
        assert daemon.http.post("/v1/completions", json=SHORT).status_code == 200
    response = daemon.http.post("/v1/completions", json=hangs | {"prompt": "another one"})
    assert response.status_code == 422, response.text
    assert response.json()["error"]["code"] == "harmful_request"


def test_a_batch_that_never_ends_is_a_hang_in_the_end(tmp_path: Path) -> None:
    """Of an engine that answers meanwhile, as it does during one that only takes long, and that
    computes nothing.
    """
    tiny.write_completion_model(tmp_path / "tiny.gguf")
    settings = {"llama.cpp": {"path": str(fake_engine(tmp_path)), "stop_grace": 0.5}}
    env = {"RUNNERD_HANG_TIMEOUT": "0.4", "RUNNERD_BACKENDS": json.dumps(settings)}
    batch = {"model": "tiny", "prompt": "x", "raw": "", "then": "batch"}
    with running(tmp_path, env=env) as daemon:
        daemon.import_model(tmp_path / "tiny.gguf", "tiny")
        response = daemon.http.post("/v1/completions", json=batch | {"seconds": 1.2})
        assert response.status_code == 200, response.text
        [engine] = daemon.engines()
        response = daemon.http.post("/v1/completions", json=batch)
        assert response.status_code == 504, response.text
        assert "hang_timeout" in response.json()["error"]["message"]
        assert daemon.http.post("/v1/completions", json=SHORT).status_code == 200
        assert not engine.is_running()


def test_who_responds_again_and_again_does_not_hang(daemon: DaemonProcess) -> None:
    """Although nobody ever sees one of its slots at work, and it always has a request: as while
    images are decoded, one after the other, before a slot has them.
    """
    prepared = SHORT | {"raw": "", "then": "prepare", "seconds": 0.3}
    daemon.http.post("/v1/completions", json=SHORT)
    [engine] = daemon.engines()
    for _ in range(10):
        response = daemon.http.post("/v1/completions", json=prepared)
        assert response.status_code == 200, response.text
    assert engine.is_running()
    response = daemon.http.post("/v1/completions", json=prepared | {"seconds": 3600})
    assert response.status_code == 504, response.text


@pytest.mark.parametrize(
    ("path", "asks"),
    [("/v1/completions", SHORT), ("/v1/tokenize", {"model": "tiny", "content": "x"})],
)
def test_an_answer_that_waits_for_its_client_keeps_no_engine_that_hangs(
    daemon: DaemonProcess, path: str, asks: dict[str, object]
) -> None:
    """Neither what its client does not read nor what needs no working thread shows that the
    engine works.
    """
    daemon.http.post("/v1/completions", json=SHORT)
    [engine] = daemon.engines()
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 33554432\r\n\r\n"
    told = {"raw": head + "x" * 2**22, "then": "hold"}
    with Wire(daemon.socket) as wire:
        wire.send(post(path, asks | told))
        assert wire.read(head_only=True).status == 200  # and no more
        response = daemon.http.post("/v1/completions", json=SHORT | {"raw": "", "then": "work"})
        assert response.status_code == 504, response.text
    assert daemon.http.post("/v1/completions", json=SHORT).status_code == 200
    assert not engine.is_running()
