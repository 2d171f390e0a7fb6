"""The folder of parts: which ones are too old, and which are somebody's."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from pathlib import Path

import pytest

from runnerd.errors import Conflict
from runnerd.models import parts_folder
from runnerd.models.digest import Digest
from runnerd.models.layout import Layout
from runnerd.models.parts_folder import sweep
from tests.support.stores import opened
from tests.support.waiting import LIMIT

DAY = 86400.0


@pytest.mark.parametrize(
    ("written", "age", "stays"),
    [
        pytest.param(-60.0, DAY, True, id="just now"),
        pytest.param(60.0, DAY, True, id="a clock set back a little"),
        pytest.param(-2 * DAY, DAY, False, id="old"),
        pytest.param(400 * DAY, DAY, False, id="a clock set back by a year"),
        pytest.param(400 * DAY, 0.0, False, id="all, whatever the clock"),
    ],
)
def test_what_is_old(tmp_path: Path, written: float, age: float, stays: bool) -> None:
    """A time in the future is none that grows old."""
    layout = Layout(tmp_path / "models")
    store = opened(layout.root)
    files = [layout.parts / f"{'a' * 64}.part", layout.uploads / ("b" * 64)]
    for path in files:
        path.write_bytes(b"x")
        os.utime(path, (0, time.time() + written))
    sweep(layout, age=age)
    store.uploads.sweep(age=age)
    assert [path.exists() for path in files] == [stays, stays]


class _Told(contextlib.AbstractContextManager[None]):
    """A lock that says when somebody else comes to it."""

    def __init__(self, came: threading.Event) -> None:
        self._lock = threading.Lock()
        self._came = came

    def __enter__(self) -> None:
        if self._lock.locked():
            self._came.set()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_looking_at_a_part_takes_it_from_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is open is found out by its lock, which a pull may want at that moment."""
    store = opened(tmp_path / "models")
    part = store.entrance.part(Digest.of(b"x"))
    part.open()
    part.close()
    came, take = threading.Event(), fcntl.flock
    failures: list[Conflict] = []

    def pull() -> None:
        try:
            part.open()
            part.close()
        except Conflict as error:
            failures.append(error)

    pulling = threading.Thread(target=pull)

    def flock(descriptor: int, operation: int) -> None:
        try:
            take(descriptor, operation)
        finally:
            if threading.current_thread() is pulling:
                came.set()
        if threading.current_thread() is not pulling and not pulling.ident:
            pulling.start()
            assert came.wait(LIMIT)

    monkeypatch.setattr(parts_folder, "_trying", _Told(came))
    monkeypatch.setattr(fcntl, "flock", flock)
    store.names.prunable_bytes()
    pulling.join()
    assert failures == []


def test_a_part_that_is_being_fetched(tmp_path: Path) -> None:
    """Its bytes count; a prune takes them only when nobody has it open."""
    store = opened(tmp_path / "models")
    part = store.entrance.part(Digest.of(b"x"))
    part.open()
    part.begin(2 * 2**20, "")
    part.write(part.pieces[0], bytes(2**20))
    part.wrote(part.pieces[0], 2**20)
    assert store.room.unfinished() >= 2 * 2**20  # its space is claimed
    assert store.names.prunable_bytes() == store.names.prune() == 0
    part.close()
    left = store.room.unfinished()
    assert left >= 2**20
    assert store.names.prunable_bytes() == store.names.prune() == left
    assert store.room.unfinished() == 0
