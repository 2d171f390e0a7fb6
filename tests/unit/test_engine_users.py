"""runnerd.backends.engine_users: numbers that nobody else has, and who may give them away."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from runnerd.backends import engine_users
from runnerd.backends.ending import end_all
from runnerd.backends.engine_users import USUAL, EngineUsers, NoUser, parse_range
from tests.support.waiting import wait_for
from tests.unit.test_ending import FLEES, LOOKS_ENDED, running

RANGE = "60810-60812"
ALL = (1 << 41) - 1
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root may become other users")


@pytest.fixture(autouse=True)
def _own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_users, "_LOCKS", tmp_path / "locks")


def test_ranges() -> None:
    """First and last belong to it; two words stand for ranges."""
    assert parse_range("60810-60812") == range(60810, 60813)
    assert parse_range("off") is None
    assert parse_range("auto") == USUAL


@pytest.mark.parametrize("said", ["", "5", "0-10", "999-2000", "2000-1999", "a-b", "1-2-3", "²-³"])
def test_no_ranges(said: str) -> None:
    """Neither root's number nor one of the system's accounts, and nothing backwards."""
    with pytest.raises(ValueError, match=r"FIRST-LAST|must not be above"):
        parse_range(said)


@pytest.mark.parametrize(
    ("said", "absent", "usable"),
    [
        ("auto", None, True),
        ("auto", 24, False),  # CAP_SYS_RESOURCE: something would be worse than before
        ("auto", 7, False),
        (RANGE, 24, True),
        (RANGE, 7, False),
        ("off", None, False),
    ],
)
def test_who_may_give_users(
    said: str,
    absent: int | None,
    usable: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By itself only a daemon for whom nothing gets worse; who is asked to, with what it takes."""
    held = ALL if absent is None else ALL & ~(1 << absent)
    monkeypatch.setattr(engine_users, "_held", lambda: held)
    users = EngineUsers(said, tmp_path)
    assert users.usable == usable
    assert users.on_devices == (usable and said == RANGE)
    assert bool(users.complaint) == (said == RANGE and not usable)
    assert ("of its own" in users.words) == usable
    assert bool(users.lacks) == (absent == 24)


def test_an_ordinary_user_gives_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is said where nobody has asked."""
    monkeypatch.setattr(engine_users, "_held", lambda: 0)
    users = EngineUsers("auto", tmp_path)
    assert not users.usable
    assert users.complaint == ""
    assert "CAP_SETUID" in EngineUsers(RANGE, tmp_path).complaint
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert EngineUsers("auto", tmp_path).words == (
        "engines run as the daemon's user: the daemon is not root"
    )
    assert "CAP_SETUID" in EngineUsers(RANGE, tmp_path).complaint


@as_root
def test_each_number_is_lent_once(tmp_path: Path) -> None:
    """Also by two daemons; one that comes back is not the next one."""
    users, others = EngineUsers(RANGE, tmp_path), EngineUsers(RANGE, tmp_path)
    first, second, third = users.lend(), others.lend(), users.lend()
    assert {first.uid, second.uid, third.uid} == set(parse_range(RANGE) or ())
    with pytest.raises(NoUser, match="are taken"):
        users.lend()
    users.give_back(first)
    again = others.lend()
    assert again.uid == first.uid
    for lent in (second, third, again):
        users.give_back(lent)


@as_root
def test_numbers_of_accounts_and_processes_are_not_lent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has one already keeps it."""
    monkeypatch.setattr(engine_users, "_accounts", lambda: {60810})
    process = subprocess.Popen(["/bin/sleep", "3600"], user=60811, group=60811)
    try:
        users = EngineUsers(RANGE, tmp_path)
        lent = users.lend()
        assert lent.uid == 60812
        users.give_back(lent)
    finally:
        process.kill()
        process.wait()


@as_root
def test_accounts_are_those_of_the_hosts_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its users, its groups, and of what users have for their containers; lines that say
    something else are passed over.
    """
    files = {
        "passwd": "root:x:0:0\nreal:x:60810:100:A real one:/home/real:/bin/sh\nbad:x:x:y\n\n",
        "group": "service:x:60811:\n",
        "subuid": "real:60812:2\nother:100000:65536\nbad:1\nworse:x:y\n",
        "subgid": "real:60815:1\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(engine_users, "_ACCOUNTS", (tmp_path / "passwd", tmp_path / "group"))
    monkeypatch.setattr(engine_users, "_SUBORDINATE", (tmp_path / "subuid", tmp_path / "subgid"))
    users = EngineUsers("60810-60815", tmp_path)
    lent = users.lend()
    assert lent.uid == 60814
    with pytest.raises(NoUser, match="are taken"):
        users.lend()
    users.give_back(lent)


@as_root
def test_what_still_runs_ends_with_its_number(tmp_path: Path) -> None:
    """A process that has left its group as well."""
    users = EngineUsers(RANGE, tmp_path)
    lent = users.lend()
    left = subprocess.Popen(
        ["/bin/sleep", "3600"], user=lent.uid, group=lent.uid, start_new_session=True
    )
    users.give_back(lent)
    assert wait_for(lambda: left.poll() is not None, "its end")


@as_root
@pytest.mark.parametrize("program", [FLEES, LOOKS_ENDED])
def test_nobody_keeps_a_number_by_hiding(program: str, tmp_path: Path) -> None:
    """Whoever has it next shares it with nobody, whatever the one before has started."""
    users = EngineUsers("60810-60810", tmp_path)
    for _ in range(2):
        lent = users.lend()
        with running(program, lent.uid):
            users.give_back(lent)
            assert not [uid for _ in range(20) for uid in engine_users._running() if uid == 60810]


@as_root
def test_a_number_is_not_lent_to_two(tmp_path: Path) -> None:
    """What an engine of a daemon that was killed has left may flee from being found."""
    with running(FLEES, 60810):
        for _ in range(20):
            users = EngineUsers("60810-60811", tmp_path)
            lent = users.lend()
            assert lent.uid == 60811
            users.give_back(lent)
        wait_for(lambda: end_all(60810), "the end of all")
