"""An engine with a user of its own is a stranger to the daemon and to other engines: what it cannot
do then it cannot do either where Landlock and seccomp are switched off, or absent.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.faults.test_taken_over_engine import ORDINARY, PYTHON, Host, host
from tests.support.plain_http import NO_TLS
from tests.support.waiting import LIMIT, wait_for

RANGE = "60700-60799"
# What any program of any user of this host can do, where nothing but its user holds it back.
ANYBODY = {
    "the internet", "another's command line", "a namespace by clone", "keyctl",
    "add_key", "io_uring", "userfaultfd", "perf", "shared memory", "read /etc/passwd",
    "read /proc/1/cmdline", "list /", "list /tmp", "list /proc", "make in /tmp", "chroot",
    "read /proc/kallsyms",
}  # fmt: skip
NAMESPACE = "a namespace"
IN_A_NAMESPACE = {NAMESPACE, "CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_SYS_PTRACE"}

# With which an ordinary user may give others to engines, and what lets it run the tests' Python.
CAPABILITIES = ",".join(
    f"+{name}"
    for name in ("chown", "dac_override", "fowner", "kill", "setgid", "setuid", "sys_admin",
                 "sys_nice", "sys_ptrace", "dac_read_search")
)  # fmt: skip

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(PYTHON is None, reason="needs a Python of the system"),
    pytest.mark.skipif(os.getuid() != 0, reason="only root may give users to engines"),
]


def engines(this: Host) -> dict[Path, int]:
    """The process of each engine by its socket, as its arguments tell."""
    found = {}
    for process in this.daemon.engines():
        words = process.cmdline()
        found[Path(words[words.index("--host") + 1])] = process.pid
    return found


@pytest.mark.parametrize(
    ("user", "sandbox"), [("root", False), ("root", True), ("ordinary", False), ("ordinary", True)]
)
def test_it_is_a_stranger(user: str, sandbox: bool) -> None:
    """Neither the daemon, nor its files, nor another engine can be reached, with and without the
    sandbox, whether the daemon is root or an ordinary user with capabilities.
    """
    with host(user, CAPABILITIES, sandbox=sandbox, engine_uids=RANGE) as this:
        (this.folder / "home").chmod(0o700)
        (this.folder / "home" / "secret").chmod(0o600)
        processes = engines(this)
        uids = {engine: psutil.Process(pid).uids().real for engine, pid in processes.items()}
        assert len(set(uids.values())) == 2
        state = this.daemon.state_dir
        # In what is closed to it, it sees what it was given.
        seen = {f"list {folder}" for folder in (state, this.daemon.runtime_dir / "m")}
        anybody = set() if sandbox else ANYBODY | seen
        for engine, other in zip(processes, reversed(processes), strict=True):
            kept = [state / "runnerd.db", *state.rglob("*.gguf")]
            assert len(kept) > 2
            for victim in (this.victim, processes[other]):
                report = this.attack(engine, without=[NAMESPACE], victim=victim)
                assert report.pop("uid") == uids[engine]
                got = {name for name, outcome in report.items() if outcome is True}
                assert got <= anybody
            allowed = this.attack(
                engine, *(f"read {path}" for path in kept), reads=kept, victim=this.victim
            )
            allowed.pop("uid")
            (own,) = [name for name, outcome in allowed.items() if outcome is True]
            assert own.removeprefix("read ") in psutil.Process(processes[engine]).cmdline()
            # Root of a user namespace of its own, which it stays, is nobody's root outside.
            for victim in (this.victim, processes[other]):
                report = this.attack(engine, victim=victim)
                report.pop("uid")
                got = {name for name, outcome in report.items() if outcome is True}
                assert got <= (anybody if sandbox else anybody | IN_A_NAMESPACE)
        assert this.daemon.http.get("/health").status_code == 200


def test_nobody_is_talked_to_in_its_place() -> None:
    """A link to somebody else's socket where an engine listened gets none of what users say, and
    nothing is said there as the daemon's user: such an engine is one that has failed.
    """
    with host("root", sandbox=False, engine_uids=RANGE) as this:
        engine, _ = this.engine_sockets()
        with socket.socket(socket.AF_UNIX) as victim:
            victim.bind(str(this.folder / "victim.sock"))
            victim.listen()
            victim.setblocking(False)
            name = "another in its place"
            report = this.attack(engine, name, instead=this.folder / "victim.sock")
            assert report[name] is True
            chat = {"model": "one", "messages": [], "aims": {"only": ["nothing"]}}
            own = httpx.HTTPTransport(uds=str(engine.parent.with_suffix(".sock")), verify=NO_TLS)
            with httpx.Client(transport=own, base_url="http://runner") as runner:
                assert runner.post("/v1/chat/completions", json=chat).status_code >= 500
            this.daemon.http.post("/v1/chat/completions", json=chat)
            assert {heard(each) for each in accepted(victim)} <= {b""}
        (this.folder / "victim.sock").unlink()


def heard(connection: socket.socket) -> bytes:
    with connection:
        connection.settimeout(LIMIT)
        return connection.recv(1000)


def accepted(listener: socket.socket) -> Iterator[socket.socket]:
    """The connections that wait at a listener."""
    with contextlib.suppress(BlockingIOError):
        while True:
            yield listener.accept()[0]


def test_it_ends_with_the_daemon() -> None:
    """A daemon that is killed takes engines of other users with it, and nobody keeps a number."""
    with host("root", engine_uids=RANGE) as this:
        processes = [psutil.Process(pid) for pid in engines(this).values()]
        assert len(processes) == 2
        this.daemon.kill()
        wait_for(lambda: not any(process.is_running() for process in processes), "their end")


def test_an_ordinary_daemon_goes_on_as_before() -> None:
    """It has no users to give: its engines run as itself, and who has asked for users is told."""
    for said in ("auto", RANGE):
        with host("ordinary", engine_uids=said) as this:
            uids = {psutil.Process(pid).uids() for pid in engines(this).values()}
            assert {uid for each in uids for uid in each} == {ORDINARY}
            status = this.daemon.http.get("/engines/status").json()["llama.cpp"]
            assert ("engines run as the daemon's user (the daemon has not CAP_" in status) == (
                said == RANGE
            )
            assert "runs as the daemon's user" not in this.daemon.text()
