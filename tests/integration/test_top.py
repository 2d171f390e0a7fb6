"""`runnerd top` on a real screen (tmux), with a real daemon behind it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_overview import asking
from tests.support.daemon import DaemonProcess, running
from tests.support.tmux import screen
from tests.support.waiting import wait_for

pytestmark = pytest.mark.engine

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "a"}], "max_tokens": 1}


@pytest.fixture
def daemon(tmp_path: Path, gguf: Path) -> Iterator[DaemonProcess]:
    with running(tmp_path / "d") as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        yield daemon


def command(daemon: DaemonProcess) -> list[str]:
    return [sys.executable, "-m", "runnerd", "--host", f"unix://{daemon.socket}", "top"]


@pytest.mark.parametrize(("columns", "lines"), [(60, 20), (200, 50)])
def test_it_is_live(daemon: DaemonProcess, columns: int, lines: int) -> None:
    """A model that is loaded appears, is pinned and unloaded by keys, and a request is ended."""
    with screen(command(daemon), {}, columns=columns, lines=lines) as top:
        top.reads("runnerd ")
        top.reads("ram   ")
        daemon.http.post("/v1/chat/completions", json=CHAT).raise_for_status()
        top.reads("tiny")
        top.reads("0/4")
        top.press("p")
        top.reads("tiny stays loaded")
        assert overview(daemon)["runners"][0]["pinned"]
        with daemon.client() as http, asking(http, **{"X-Request-Id": "mine"}):
            top.reads("mine")
            top.press("c")
            top.reads("choose a request first")
            top.press("Down")
            top.press("c")
            top.reads("ended mine")
        wait_for(lambda: not overview(daemon)["requests"], "the request's end")
        top.press("k")
        top.press("p")
        top.reads("tiny may go again")
        top.press("u")
        top.reads("unloading tiny")
        wait_for(lambda: not overview(daemon)["runners"], "the runner's end")
        top.press("q")
        assert top.ended() == 0


def test_a_daemon_that_ends_is_told_of(daemon: DaemonProcess) -> None:
    """And Ctrl-C leaves."""
    with screen(command(daemon), {}) as top:
        top.reads("loop lag")
        daemon.terminate()
        top.reads("no daemon answers")
        top.press("C-c")
        assert top.ended() == 0


def overview(daemon: DaemonProcess) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = daemon.http.get("/runnerd/overview").json()
    return found
