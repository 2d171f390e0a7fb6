"""An engine that was taken over reaches nothing: not the daemon, not its files, not its neighbours.

The engine (hostile_engine.py) runs under a real daemon, as root's and as an ordinary user's, and
tells what it could do.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from runnerd.backends import landlock, seccomp
from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, seen_process
from tests.support.engines import pass_trial
from tests.support.plain_http import NO_TLS

PROGRAM = Path(__file__).with_name("hostile_engine.py")
# One that an ordinary user may run; the tests' own may lie in root's home.
PYTHON = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")
ORDINARY = 64321
REFUSED = os.strerror(errno.EACCES)  # before the kernel has looked at any argument
CALLS = (
    "the internet", "a datagram", "a signal by tkill", "a queued signal", "a signal by descriptor",
    "another's descriptor", "another's limits", "ptrace", "process_vm_readv", "process_vm_writev",
    "a namespace", "a namespace by clone", "another's namespace", "mount", "move_mount", "chroot",
    "bpf", "keyctl", "add_key", "io_uring", "userfaultfd", "perf", "shared memory",
    "open by handle", "a kernel module", "kexec", "reboot",
)  # fmt: skip
SECRET = "hf_do_not_tell"

pytestmark = [
    pytest.mark.skipif(PYTHON is None, reason="needs a Python of the system"),
    pytest.mark.skipif(
        landlock.abi() == 0 or seccomp.machine() is None, reason="this kernel has no Landlock"
    ),
]
USERS = ["root", "ordinary"] if os.getuid() == 0 else ["ordinary"]


@dataclass
class Host:
    """A daemon with two models on hostile engines, a user's home, and a process of the user."""

    daemon: DaemonProcess
    folder: Path
    victim: int

    def engine_sockets(self) -> list[Path]:
        """The engines' own sockets, that of `one` first."""
        runners = sorted(self.daemon.ps(), key=lambda runner: str(runner["model_name"]))
        return [Path(runner["socket"].replace(".sock", "/e.sock")) for runner in runners]

    def attack(
        self,
        engine: Path,
        *only: str,
        without: Sequence[str] = (),
        victim: int | None = None,
        reads: Sequence[Path] = (),
        instead: Path | None = None,
    ) -> dict[str, object]:
        """Have an engine try everything, and return what came of it."""
        others = [path for path in self.engine_sockets() if path != engine]
        state, home = self.daemon.state_dir, self.folder / "home"
        model = next((state / "models").rglob("*.gguf"))
        aims: dict[str, object] = {
            "daemon": self.daemon.process.pid if self.daemon.process is not None else 0,
            "victim": victim or self.victim,
            "only": only,
            "without": without,
            "sockets": [
                str(path) for path in (self.daemon.socket, *others, self.folder / "own.sock")
            ],
            "read": [
                "/etc/passwd", "/etc/shadow", "/proc/1/cmdline", "/proc/kallsyms",
                str(home / "secret"), str(state / "logs" / "runnerd.log"),
                str(state / "slots" / "kept.slot"), *map(str, reads),
            ],
            "write": [str(home / "secret"), str(state / "logs" / "runnerd.log"), str(model)],
            "list": [
                "/", "/tmp", "/proc", str(state), str(home), str(engine.parent.parent),
                *(str(path.parent) for path in others),
            ],
        }  # fmt: skip
        if instead is not None:
            aims["instead"] = str(instead)
        transport = httpx.HTTPTransport(uds=str(engine), verify=NO_TLS)
        with httpx.Client(transport=transport, timeout=60) as http:
            response = http.post("http://engine/attack", json={"aims": aims})
        report = response.json()["report"]
        assert isinstance(report, dict)
        return report


@contextmanager
def host(user: str, capabilities: str = "+dac_read_search", **settings: object) -> Iterator[Host]:
    """Run a daemon as one user, with an engine loaded for each of two models; an ordinary one has
    `capabilities`.
    """
    uid = ORDINARY if user == "ordinary" and os.getuid() == 0 else os.getuid()
    folder = Path(tempfile.mkdtemp(prefix="rdhost"))  # a test's own folder is for root alone
    folder.chmod(0o755)
    server = folder / "engine" / "llama-server"
    server.parent.mkdir()
    command = shlex.join([str(PYTHON), "-I", str(shutil.copy(PROGRAM, server.parent))])
    server.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    server.chmod(0o755)
    (folder / "engine").chmod(0o755)
    (folder / "engine" / PROGRAM.name).chmod(0o644)
    pass_trial(server)
    (server.parent / ".trials.json").chmod(0o644)
    (folder / "home").mkdir()
    (folder / "home" / "secret").write_text("private")
    for name in ("one", "two"):
        tiny.write_completion_model(folder / f"{name}.gguf", name=name, seed=len(name))
    env = {
        "RUNNERD_BACKENDS": json.dumps({"llama.cpp": {"path": str(server), **settings}}),
        "RUNNERD_HUB_TOKEN": SECRET,
        "HOME": str(folder / "home"),
    }
    daemon = DaemonProcess(folder / "d", env)
    if uid != os.getuid():
        # It may read the tests' own Python, wherever that lies; its engines have no such right.
        daemon.prefix = (
            "setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups",
            f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}",
        )  # fmt: skip
    for path in (folder, *folder.rglob("*"), daemon.runtime_dir):
        os.chown(path, uid, uid if uid == ORDINARY else -1)
    lowered = uid if uid == ORDINARY else None
    victim = subprocess.Popen(["/bin/sleep", "3600"], user=lowered, group=lowered)
    try:
        daemon.start()
        for name in ("one", "two"):
            daemon.import_model(folder / f"{name}.gguf", name)
            chat = {"model": name, "messages": [{"role": "user", "content": "x"}]}
            preload = {"X-Preload-Only": "true"}
            response = daemon.http.post("/v1/chat/completions", json=chat, headers=preload)
            assert response.status_code == 200, response.text
        (daemon.state_dir / "slots" / "kept.slot").write_text("what somebody said")
        yield Host(daemon, folder, victim.pid)
    finally:
        victim.kill()
        victim.wait()
        daemon.close()
        shutil.rmtree(folder)


@pytest.mark.parametrize("user", USERS)
def test_it_reaches_nothing(user: str) -> None:
    """Files, processes, sockets, the network, the kernel: each attempt of either engine fails."""
    with host(user, engine_uids="off") as this:
        for engine in this.engine_sockets():
            report = this.attack(engine)
            assert report.pop("uid") == (0 if user == "root" else os.getuid() or ORDINARY)
            assert {name for name, outcome in report.items() if outcome is True} == set()
            assert {name: report[name] for name in CALLS} == dict.fromkeys(CALLS, REFUSED)
        assert this.daemon.http.get("/health").status_code == 200
        assert (this.folder / "home" / "secret").read_text() == "private"


@pytest.mark.long
@pytest.mark.parametrize("user", USERS)
def test_it_is_the_sandbox_that_holds(user: str) -> None:
    """The same engine without it gets at its neighbours, so that the attempts are real ones."""
    with host(user, sandbox=False, engine_uids="off") as this:
        first, second = this.engine_sockets()
        harmless = [
            "the internet",
            "a signal to the daemon",
            "another's environment",
            "another's limits",
            f"connect to {this.daemon.socket}",
            f"connect to {second}",
            f"read {this.folder}/home/secret",
            f"remove {this.folder}/home/secret",
            f"make in {second.parent}",
        ]
        report = this.attack(first, *harmless)
        assert {name: report[name] for name in harmless} == dict.fromkeys(harmless, True)


@pytest.mark.long
@pytest.mark.parametrize("user", USERS)
def test_the_daemon_keeps_its_secrets(user: str) -> None:
    """Once it runs, its environment holds no token, and who is not root cannot look into it."""
    with host(user) as this:
        assert this.daemon.process is not None
        process = seen_process(this.daemon.process.pid)
        if os.getuid() == 0:
            assert SECRET.encode() not in Path(f"/proc/{process.pid}/environ").read_bytes()
        # Not dumpable: what is in /proc belongs to root.
        assert os.stat(f"/proc/{process.pid}/environ").st_uid == 0
        this.daemon.reload()
        assert "hub_token" not in this.daemon.text().rpartition("SIGHUP: ")[2]
