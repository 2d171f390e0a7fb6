"""Debian's rabbitmq-server and redis-server as processes of their own, on ports that were free.

All that they write lies in a test's folder.  Both can be killed and started again on the same ports
with what they had on disk, which is what the tests of durability do.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.ports import reserved_port
from tests.support.waiting import SECONDS, wait_for

REDIS = shutil.which("redis-server")
EPMD = shutil.which("epmd")
_CLOCK = Path(__file__).with_name("set_clock.c")
_SCRIPTS = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
# Debian's own command in /usr/sbin changes to the user rabbitmq; this one is what it starts.
RABBITMQ = _SCRIPTS[-1] if _SCRIPTS else None
LOGIN = PASSWORD = "guest"

_RABBITMQ_CONF = """\
listeners.tcp.1 = 127.0.0.1:{port}
loopback_users = none
log.console = false
log.file.level = warning
disk_free_limit.absolute = 1MB
vm_memory_high_watermark.relative = 0.9
"""
# Two schedulers that sleep at once when they have nothing to do: the machine is shared.
_ERLANG = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"


class Server:
    """One server process in a session of its own, so that all that it starts ends with it."""

    def __init__(self, port: int, root: Path) -> None:
        self.port = port
        self.root = root
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with open(self.root / "output.log", "ab") as output:
            self._process = subprocess.Popen(
                self._command(),
                env={**os.environ, **self._environment()},
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_for(self._answers, f"{type(self).__name__} to answer", limit=120 * SECONDS)

    def kill(self) -> None:
        """Send SIGKILL to it and to all that it has started, and wait until they are gone."""
        if self._process is None:
            return
        try:
            family = [psutil.Process(self._process.pid)]
            family += family[0].children(recursive=True)
        except psutil.NoSuchProcess:
            family = []
        for process in family:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        self._process.wait()
        psutil.wait_procs(family, timeout=10 * SECONDS)
        self._process = None

    def pause(self) -> None:
        """Stop it where it stands, as a machine that hangs does."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        this = psutil.Process(self._process.pid)
        for process in (this, *this.children(recursive=True)):
            process.send_signal(number)

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _environment(self) -> dict[str, str]:
        return {}

    def _answers(self) -> bool:
        assert self._process is not None
        output = self.root / "output.log"
        assert self._process.poll() is None, output.read_text(errors="replace")
        return self._greets()

    def _greets(self) -> bool:
        raise NotImplementedError


class Redis(Server):
    """A Redis that writes every change to its file, by default before it answers."""

    sync = "always"
    clock: Path | None = None

    @property
    def url(self) -> str:
        """Where it is, for redis-py."""
        return f"redis://127.0.0.1:{self.port}/0"

    def _command(self) -> list[str]:
        assert REDIS is not None
        return [
            *(REDIS, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.root)),
            *("--save", "", "--appendonly", "yes", "--appendfsync", self.sync),
        ]

    def _environment(self) -> dict[str, str]:
        if self.clock is None:
            return {}
        return {
            "LD_PRELOAD": str(self.root / "clock.so"),
            "CLOCK_OFFSET": str(self.clock),
        }

    def set_clock(self, offset: int) -> None:
        """Have it believe that it is so many seconds later than it is."""
        assert self.clock is not None
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(f"{offset}\n")
        fresh.replace(self.clock)

    def _log(self) -> Path:
        [path] = (self.root / "appendonlydir").glob("*.incr.aof")
        return path

    def written(self) -> int:
        """How long its file of changes is."""
        return self._log().stat().st_size

    def lose_power(self, written: int) -> None:
        """Kill it; of its file only so much had reached the disk."""
        self.kill()
        with open(self._log(), "r+b") as file:
            file.truncate(written)

    def _greets(self) -> bool:
        return _said(self.port, b"PING\r\n").startswith(b"+PONG")


class RabbitMQ(Server):
    """One node of RabbitMQ, with the port mapper of Erlang that it needs."""

    def __init__(self, port: int, root: Path, *, ports: tuple[int, int]) -> None:
        super().__init__(port, root)
        self._mapper_port, self._node_port = ports
        (root / "rabbitmq.conf").write_text(_RABBITMQ_CONF.format(port=port))
        (root / "enabled_plugins").write_text("[].")

    @property
    def url(self) -> str:
        """Where it is, for aio-pika."""
        return f"amqp://{LOGIN}:{PASSWORD}@127.0.0.1:{self.port}/"

    def control(self, *arguments: str) -> str:
        """Have its own tool do something; what it says."""
        assert RABBITMQ is not None
        environment = {**os.environ, **self._environment()}
        done = subprocess.run(
            [RABBITMQ.with_name("rabbitmqctl"), *arguments],
            env=environment,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=120 * SECONDS,
        )
        return done.stdout.decode()

    def _command(self) -> list[str]:
        return [str(RABBITMQ)]

    def _environment(self) -> dict[str, str]:
        root = self.root
        return {
            "HOME": str(root),  # its cookie
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"rd{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_CONFIG_FILE": str(root / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(root / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(root / "mnesia"),
            "RABBITMQ_LOG_BASE": str(root / "log"),
            "RABBITMQ_PID_FILE": str(root / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG,
            # Its own script says so to a service manager; we run it in the foreground either way.
            "RUNNING_UNDER_SYSTEMD": "1",
        }

    def _greets(self) -> bool:
        return _said(self.port, b"AMQP\0\0\x09\x01").startswith(b"\x01")


class _PortMapper(Server):
    def _command(self) -> list[str]:
        assert EPMD is not None
        return [EPMD, "-port", str(self.port), "-address", "127.0.0.1"]

    def _greets(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def _said(port: int, greeting: bytes) -> bytes:
    """The first bytes of a server's response; none as long as there is no server."""
    with socket.socket() as probe:
        probe.settimeout(5 * SECONDS)
        try:
            probe.connect(("127.0.0.1", port))
            probe.sendall(greeting)
            return probe.recv(64)
        except OSError:
            return b""


@contextmanager
def running_redis(
    root: Path, *, sync: str = "always", clock: Path | None = None
) -> Iterator[Redis]:
    """Run a Redis for the length of a with block; `sync` is when its file is synced, and `clock` a
    file for a clock of its own.
    """
    if REDIS is None:
        pytest.skip("redis-server is not installed (apt install redis-server)")
    root.mkdir(parents=True, exist_ok=True)
    with reserved_port() as port:
        server = Redis(port, root)
        server.sync = sync
        if clock is not None:
            library = root / "clock.so"
            subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, _CLOCK], check=True)
            server.clock = clock
            server.set_clock(0)
        try:
            server.start()
            yield server
        finally:
            server.kill()


@contextmanager
def running_rabbitmq(root: Path) -> Iterator[RabbitMQ]:
    """Run a RabbitMQ for the length of a with block."""
    if RABBITMQ is None or EPMD is None:
        pytest.skip("rabbitmq-server is not installed (apt install rabbitmq-server)")
    root.mkdir(parents=True, exist_ok=True)
    mapper_root = root / "epmd"
    mapper_root.mkdir(exist_ok=True)
    with ExitStack() as stack:
        port, mapper_port, node_port = (stack.enter_context(reserved_port()) for _ in range(3))
        mapper = _PortMapper(mapper_port, mapper_root)
        server = RabbitMQ(port, root, ports=(mapper_port, node_port))
        try:
            mapper.start()
            server.start()
            yield server
        finally:
            server.kill()
            mapper.kill()
