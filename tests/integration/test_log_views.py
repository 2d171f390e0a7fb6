"""`/logs` of a real daemon, and streams that must not hold up its end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import SECONDS, wait_for
from tests.support.wire import Wire

CHAT = {"messages": [{"role": "user", "content": "a"}], "max_tokens": 1}


@contextmanager
def streaming(daemon: DaemonProcess, path: str, **headers: str) -> Iterator[threading.Event]:
    """A stream that somebody reads until it ends; set once it has."""
    ended, begun = threading.Event(), threading.Event()

    def read(http: httpx.Client) -> None:
        with http.stream("GET", path, headers=headers) as response:
            assert response.status_code == 200
            for _ in response.iter_raw():
                begun.set()
        ended.set()

    with daemon.client() as http:
        thread = threading.Thread(target=read, args=(http,))
        thread.start()
        assert begun.wait(60 * SECONDS)
        yield ended
        thread.join(60 * SECONDS)


def test_no_stream_holds_up_a_drain(tmp_path: Path) -> None:
    """Neither a followed log nor requests as they come: whoever follows does so for ever."""
    with running(tmp_path / "d", env={"RUNNERD_CAPTURE_REQUESTS": "1"}) as daemon:
        events = {"Accept": "text/event-stream"}
        with (
            streaming(daemon, "/logs?follow=true") as log,
            streaming(daemon, "/engines/requests", **events) as requests,
        ):
            assert daemon.terminate() == 0
            assert log.wait(60 * SECONDS)
            assert requests.wait(60 * SECONDS)
        assert "did not finish" not in daemon.text()


@pytest.mark.parametrize("path", ["/logs?follow=true", "/engines/requests", "/runnerd/events"])
def test_head_of_what_could_be_followed(tmp_path: Path, path: str) -> None:
    """Is an end at once, and the connection goes on."""
    with running(tmp_path / "d", env={"RUNNERD_CAPTURE_REQUESTS": "1"}) as daemon:
        with Wire(daemon.socket) as wire:
            for _ in range(2):
                accepts = "Host: localhost\r\nAccept: text/event-stream"
                wire.send(f"HEAD {path} HTTP/1.1\r\n{accepts}\r\n\r\n".encode())
                head = b""
                while b"\r\n\r\n" not in head:
                    head += wire.socket.recv(65536)
                assert head.startswith(b"HTTP/1.1 200")


@pytest.mark.engine
def test_lines_of_one_model(tmp_path: Path, gguf: Path) -> None:
    """Those of its engines and those that tell of it, in one order, the newest so many."""
    with running(tmp_path / "d") as daemon:
        for name in ("tiny", "other"):
            daemon.import_model(gguf / f"{name}.gguf", name)
            daemon.http.post("/v1/chat/completions", json={**CHAT, "model": name})
        tiny = next(runner["id"] for runner in daemon.ps() if runner["model_name"] == "tiny")

        def lines(**query: str) -> list[str]:
            return daemon.http.get("/logs", params=query).raise_for_status().text.splitlines()

        wait_for(lambda: any("ready after" in line for line in lines()), "the log")
        of_it, everything = lines(model="tiny"), lines()
        assert len(of_it) < len(everything)
        assert all("tiny" in line or tiny in line for line in of_it)
        assert any(f"engine {tiny}: " in line for line in of_it)
        assert any(f"runner {tiny} tiny: ready after" in line for line in of_it)
        times = [line[:23] for line in everything if line.startswith("20")]
        assert times == sorted(times)

        def at_rest() -> tuple[list[str], list[str]] | None:
            """All lines and the newest three, unless an engine has written meanwhile."""
            before, newest = lines(), lines(lines="3")
            return (before, newest) if lines() == before else None

        read = wait_for(at_rest, "the engines to write nothing for a moment")
        assert read is not None
        assert read[1] == read[0][-3:]
        assert daemon.http.get("/logs", params={"lines": "x"}).status_code == 400
        assert daemon.http.get("/logs", params={"model": "no"}).status_code == 404
