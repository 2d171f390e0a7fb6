"""Ten sessions talk while daemon and engine are killed again and again: no turn that was told as
ended is lost, and none is there twice.

`SESSION_KILLS=100 pytest -s tests/faults/test_session_kills.py` for longer; it prints the count.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.sessions import events, make
from tests.support.waiting import wait_for

KILLS = int(os.environ.get("SESSION_KILLS", "6"))
SESSIONS = 10

pytestmark = [pytest.mark.long, pytest.mark.engine, pytest.mark.timeout(120 + 60 * KILLS)]


class Talker:
    """Says one numbered thing after the other in a session, and remembers what it heard."""

    def __init__(self, daemon: DaemonProcess, number: int) -> None:
        self._client = daemon.client()
        self._number = number
        self.id = make(self._client, model="tiny", system="", parameters={"max_tokens": 3})
        self.turns: list[dict[str, Any]] = []  # acknowledged, or found where that was not heard
        self.heard = 0
        self.unheard = 0
        self.failures = 0
        self.problem: BaseException | None = None
        self._done = threading.Event()
        self.thread = threading.Thread(target=self._talk)

    def stop(self) -> None:
        self._done.set()

    def _talk(self) -> None:
        try:
            while not self._done.is_set():
                try:
                    self._say()
                except httpx.HTTPError:
                    self.failures += 1
                    self._done.wait(0.5)  # the daemon is being started
        except BaseException as problem:
            self.problem = problem
        finally:
            self._client.close()

    def _say(self) -> None:
        count = len(self.turns)
        asked = {"prompt": f"{self._number}.{count}", "after": count}
        path = f"/runnerd/sessions/{self.id}/prompt"
        with self._client.stream("POST", path, json=asked) as response:
            status = response.status_code
            told = list(events(response)) if status == 200 else []
        if status == 409:  # it was kept, and we did not hear it
            self._find()
        elif told and told[-1][0] == "end":
            self.turns.append(told[-1][1]["turn"])
            self.heard += 1
        else:
            self.failures += 1
            self._done.wait(0.05)  # the engine is being started

    def _find(self) -> None:
        turns = self._client.get(f"/runnerd/sessions/{self.id}").json()["history"]
        assert turns[:-1] == self.turns
        self.turns = turns
        self.unheard += 1


def _heard(talkers: list[Talker], target: int) -> bool:
    """Whether so many turns were acknowledged in all."""
    assert [talker.problem for talker in talkers] == [None] * SESSIONS
    return sum(talker.heard for talker in talkers) >= target


@pytest.fixture(params=[1024, 0], ids=["cached", "saved each time"])
def daemon(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[DaemonProcess]:
    """With an engine that keeps all sessions, and with one whose sessions are saved after each
    turn, since nothing that leaves its slots stays.
    """
    tiny.write_completion_model(tmp_path / "tiny.gguf", context_length=32768)
    backends = f'{{"llama.cpp": {{"prompt_cache": {request.param}}}}}'
    with running(tmp_path, env={"RUNNERD_BACKENDS": backends}) as daemon:
        daemon.import_model(tmp_path / "tiny.gguf", "tiny")
        yield daemon


# httpx leaves the socket open of a connection that nobody accepts.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket")
def test_no_turn_is_lost_and_none_is_there_twice(daemon: DaemonProcess) -> None:
    """What was told is there, in its order; what is there was said once."""
    chance = random.Random(19)
    talkers = [Talker(daemon, number) for number in range(SESSIONS)]
    for talker in talkers:
        talker.thread.start()
    try:
        for kill in range(KILLS):
            target = sum(talker.heard for talker in talkers) + chance.randrange(5, 40)
            wait_for(partial(_heard, talkers, target), "the sessions to go on")
            if kill % 2:
                for engine in daemon.engines():
                    with contextlib.suppress(psutil.NoSuchProcess):
                        engine.kill()
            else:
                daemon.kill()
                daemon.start()
    finally:
        for talker in talkers:
            talker.stop()
        for talker in talkers:
            talker.thread.join()
    assert [talker.problem for talker in talkers] == [None] * SESSIONS
    for number, talker in enumerate(talkers):
        found = daemon.http.get(f"/runnerd/sessions/{talker.id}").json()["history"]
        assert found[: len(talker.turns)] == talker.turns
        assert len(found) - len(talker.turns) in (0, 1)  # the last one may not have been heard
        assert [turn["number"] for turn in found] == [*range(1, len(found) + 1)]
        assert [turn["prompt"] for turn in found] == [f"{number}.{i}" for i in range(len(found))]
    heard = sum(talker.heard for talker in talkers)
    unheard = sum(talker.unheard for talker in talkers)
    failures = sum(talker.failures for talker in talkers)
    print(
        f"\n{KILLS} kills, {heard} turns acknowledged: none lost, none twice;"
        f" {unheard} kept and not heard, {failures} failed and said again"
    )
