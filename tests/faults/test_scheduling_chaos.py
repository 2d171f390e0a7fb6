"""The scheduler's promises on real engines: twelve models, room for four, and no mercy.

Two hundred clients ask at once; engines are killed, also while they load, the daemon gets SIGHUP,
and clients leave at random.  Whatever happens: never more engines than there is room for, every
request is answered, was inside an engine that was killed, or belongs to somebody who left; nothing
stays leased or queued, and afterwards every model serves.  Contexts differ, and some prompts take
most of one.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil
import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import wait_for

pytestmark = [
    *(pytest.mark.engine, pytest.mark.long),
    pytest.mark.timeout(600),  # much work, for a busy machine
]

MODELS = 12
ROOM = 4
CLIENTS = 200
KILLS = 24
KILLS_OF_A_MODEL = 3  # five failures in ten minutes are told without a start, as promised
CONTEXTS = (512, 1024, 2048)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with twelve models, two of them for embeddings, and room for four."""
    root = tmp_path_factory.mktemp("chaos")
    env = {"RUNNERD_MAX_RUNNERS": str(ROOM), "RUNNERD_TURN": "0.3"}
    with running(root / "daemon", env=env) as daemon:
        for number in range(MODELS):
            file = root / f"m{number}.gguf"
            if number < 2:
                tiny.write_embedding_model(file, name=f"m{number}", seed=number)
            else:
                tiny.write_completion_model(
                    file, name=f"m{number}", seed=number, context_length=_context(number)
                )
            daemon.import_model(file, f"m{number}")
        yield daemon


@dataclass
class Crowd:
    """What the clients saw."""

    daemon: DaemonProcess
    codes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def client(self, number: int) -> None:
        """Send one request of some kind, and perhaps leave before its end."""
        chance = random.Random(number)
        path, body = _request(chance)
        leaves = chance.random() < 0.2
        try:
            with self.daemon.client() as client:
                if leaves:
                    client.timeout = httpx.Timeout(chance.uniform(0.01, 1.0))
                with client.stream("POST", path, json=body) as response:
                    text = response.read().decode()
                self.note(response.status_code, text)
        except httpx.TimeoutException:
            self.note("left" if leaves else "hung", "no answer in time")
        except httpx.HTTPError as error:
            self.note("broken", repr(error))

    def note(self, outcome: int | str, text: str) -> None:
        with self.lock:
            self.codes[str(outcome)] += 1
            if not _expected(outcome, text):
                self.wrong.append(f"{outcome}: {text[:300]}")


def _context(model: int) -> int:
    """Return the tokens of context that a model has."""
    return CONTEXTS[model % len(CONTEXTS)]


def _request(chance: random.Random) -> tuple[str, dict[str, object]]:
    number = chance.randrange(MODELS)
    model = f"m{number}"
    if number < 2:
        return "/v1/embeddings", {"model": model, "input": "x"}
    longest = _context(number) - 250
    body: dict[str, object] = {
        "model": model,
        "prompt": "x" * chance.choice([1, 1, longest // 2, longest]),
        "max_tokens": chance.choice([1, 8, 200]),
        "stream": chance.random() < 0.5,
        "ignore_eos": True,
    }
    return "/v1/completions", body


def _expected(outcome: int | str, text: str) -> bool:
    """Whole responses, and honest words of who was inside an engine that was killed; nothing else.

    Whoever only waits for a load is served by the next one.
    """
    if outcome == "left":
        return True
    if outcome == 200:
        whole = "[DONE]" in text or not text.startswith("data:")
        return whole or "SIGKILL" in text or "broke the connection" in text
    if outcome == 502:
        message = json.loads(text)["error"]["message"]
        inside = "unable to load runner" not in message
        return inside and ("SIGKILL" in message or "broke the connection" in message)
    return False


@dataclass
class Killer:
    """Kills engines at random, reloads the daemon, and counts how many engines there are.

    Two loads of a model in a row are not killed: the second failure is told, as promised.
    """

    daemon: DaemonProcess
    over: threading.Event = field(default_factory=threading.Event)
    seen: list[int] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    spared: set[str] = field(default_factory=set)  # models of which no load is killed any more
    loads: int = 0  # that were killed

    def run(self) -> None:
        """Go on until it is over."""
        chance = random.Random(0)
        with self.daemon.client() as client:
            while not self.over.wait(0.02):
                engines = [engine for engine in self.daemon.engines() if _alive(engine)]
                self.seen.append(len(engines))
                if chance.random() < 0.05:
                    self._reload()
                runners = client.get("/engines/ps").json()
                for runner in runners:
                    if self._is_due(runner, chance):
                        self._kill(runner, engines)

    def _is_due(self, runner: dict[str, Any], chance: random.Random) -> bool:
        model, starting = runner["model_name"], runner["state"] == "starting"
        if self.kills.total() >= KILLS or self.kills[model] >= KILLS_OF_A_MODEL:
            return False
        if starting and model in self.spared:
            return False
        return starting or (runner["state"] == "ready" and chance.random() < 0.03)

    def _kill(self, runner: dict[str, Any], engines: list[psutil.Process]) -> None:
        for engine in engines:
            with contextlib.suppress(psutil.NoSuchProcess):  # it may have gone meanwhile
                if any(runner["id"] in word for word in engine.cmdline()):
                    engine.kill()
                    self.kills[runner["model_name"]] += 1
                    self.spared.add(runner["model_name"])
                    self.loads += runner["state"] == "starting"

    def _reload(self) -> None:
        assert self.daemon.process is not None
        os.kill(self.daemon.process.pid, signal.SIGHUP)


def _alive(engine: psutil.Process) -> bool:
    """Whether it is a server, and not a tool that tells its version, and not dead yet."""
    try:
        return "--host" in engine.cmdline() and engine.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_everybody_is_answered_whatever_happens(daemon: DaemonProcess) -> None:
    """Two hundred mixed requests, killed engines, vanished clients: the promises hold."""
    crowd = Crowd(daemon)
    killer = Killer(daemon)
    killing = threading.Thread(target=killer.run)
    clients = [threading.Thread(target=crowd.client, args=(number,)) for number in range(CLIENTS)]
    killing.start()
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    killer.over.set()
    killing.join()

    assert crowd.wrong == []
    assert sum(crowd.codes.values()) == CLIENTS
    assert crowd.codes["200"] > CLIENTS // 2, crowd.codes
    assert max(killer.seen) <= ROOM, "more engines than there is room for"
    assert killer.loads, "no engine was killed while it loaded"
    wait_for(lambda: all(r["requests"] == 0 for r in daemon.ps()), "all leases to end")
    assert daemon.http.get("/health").json()["queued"] == 0
    daemon.http.post("/engines/unload", json={"all": True})
    assert daemon.engines() == []
    for number in range(2, MODELS):
        body = {"model": f"m{number}", "prompt": "x", "max_tokens": 1}
        response = daemon.http.post("/v1/completions", json=body)
        assert response.status_code == 200, response.text
    assert "Traceback" not in daemon.text()
