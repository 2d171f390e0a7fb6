"""A llama-server that was taken over: it tries what it must not, and answers with what it could.

    HOSTILE what llama-server gets

A request's `aims` are what it goes for: `daemon` (its process), `victim` (another one of the same
user), paths to connect to, to read, to write and to list, a socket to put `instead` of its own;
`only` these attempts, all if empty, `without` those.
`GET` is answered as /health is; a POST with an object of what it tried: true where it got through,
and the error where it did not.

Standard library only; started with -I.
"""

from __future__ import annotations

import ctypes
import http.server
import json
import os
import platform
import signal
import socket
import socketserver
import sys
from collections.abc import Callable
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
NUMBERS = {  # x86_64, aarch64
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "bpf": (321, 280),
    "keyctl": (250, 219), "add_key": (248, 217), "io_uring_setup": (425, 425),
    "userfaultfd": (323, 282), "perf_event_open": (298, 241), "shmget": (29, 194),
    "clone": (56, 220), "chroot": (161, 51), "prlimit64": (302, 261), "init_module": (175, 105),
    "open_by_handle_at": (304, 265), "move_mount": (429, 429), "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138), "kexec_load": (246, 104), "reboot": (169, 142),
}  # fmt: skip
MACHINE = 0 if platform.machine() == "x86_64" else 1
PTRACE_SEIZE, CLONE_NEWUSER, SIGCHLD = 0x4206, 0x10000000, 17


def call(name: str, *arguments: Any) -> None:
    """Make a system call; raise OSError where it fails."""
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    if LIBC.syscall(ctypes.c_long(NUMBERS[name][MACHINE]), *words) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def own_socket() -> str:
    return sys.argv[sys.argv.index("--host") + 1]


def put_instead(path: str) -> None:
    """Have whoever connects to this engine talk to another socket."""
    os.unlink(own_socket())
    os.symlink(path, own_socket())


def send_datagram(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.sendto(b"hello", path)


def connect_tcp(port: int) -> None:
    with socket.socket() as client:
        client.connect(("127.0.0.1", port))


def read(path: str) -> None:
    with open(path, "rb") as file:
        if not file.read(1):
            raise OSError(0, "it is empty")


def write(path: str) -> None:
    with open(path, "ab"):
        pass


def new_namespace() -> None:
    pid = LIBC.syscall(
        ctypes.c_long(NUMBERS["clone"][MACHINE]), ctypes.c_long(CLONE_NEWUSER | SIGCHLD), 0, 0, 0, 0
    )
    if pid == 0:
        os._exit(0)
    if pid < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.waitpid(pid, 0)


def gain(capability: int) -> None:
    with open("/proc/self/status") as file:
        held = next(line for line in file if line.startswith("CapEff"))
    if not int(held.split()[1], 16) >> capability & 1:
        raise OSError(1, "it has no such capability")


def attempts(aims: dict[str, Any]) -> dict[str, Callable[[], object]]:
    """Everything that it tries, by name."""
    daemon, victim = aims["daemon"], aims["victim"]
    vector = (ctypes.c_char * 64)()
    piece = (ctypes.c_size_t * 2)(ctypes.addressof(vector), 8)  # of nothing everybody gets nothing
    tried: dict[str, Callable[[], object]] = {
        "the internet": lambda: socket.socket(socket.AF_INET).close(),
        "the daemon's TCP port": lambda: connect_tcp(1),
        "a datagram": lambda: send_datagram("/dev/log"),
        "the daemon's environment": lambda: read(f"/proc/{daemon}/environ"),
        "the daemon's memory": lambda: read(f"/proc/{daemon}/maps"),
        "the daemon's descriptors": lambda: os.listdir(f"/proc/{daemon}/fd"),
        "the daemon's root": lambda: os.listdir(f"/proc/{daemon}/root/"),
        "another's environment": lambda: read(f"/proc/{victim}/environ"),
        "another's command line": lambda: read(f"/proc/{victim}/cmdline"),
        "a signal to the daemon": lambda: os.kill(daemon, 0),
        "a signal to another": lambda: os.kill(victim, 0),
        "a signal by tkill": lambda: call("tkill", victim, 0),
        "a queued signal": lambda: call("rt_sigqueueinfo", victim, signal.SIGUSR1, vector),
        "a signal by descriptor": lambda: call(
            "pidfd_send_signal", os.pidfd_open(victim), 0, None, 0
        ),
        "another's descriptor": lambda: call("pidfd_getfd", os.pidfd_open(victim), 1, 0),
        "another's limits": lambda: call("prlimit64", victim, 7, None, vector),
        "ptrace": lambda: call("ptrace", PTRACE_SEIZE, victim, 0, 0),
        "process_vm_readv": lambda: call("process_vm_readv", victim, piece, 1, piece, 1, 0),
        "process_vm_writev": lambda: call("process_vm_writev", victim, piece, 1, piece, 1, 0),
        "a namespace": lambda: call("unshare", CLONE_NEWUSER),
        "a namespace by clone": new_namespace,
        "another's namespace": lambda: call("setns", 0, 0),
        "mount": lambda: call("mount", None, None, None, 0, None),
        "move_mount": lambda: call("move_mount", -1, None, -1, None, 0),
        "chroot": lambda: call("chroot", None),
        "bpf": lambda: call("bpf", 0, vector, 64),
        "keyctl": lambda: call("keyctl", 0, -3, 0),
        "add_key": lambda: call("add_key", b"user", b"x", b"y", 1, -3),
        "io_uring": lambda: call("io_uring_setup", 1, (ctypes.c_char * 256)()),
        "userfaultfd": lambda: call("userfaultfd", 1),
        "perf": lambda: call("perf_event_open", vector, 0, -1, -1, 0),
        "shared memory": lambda: call("shmget", 0, 4096, 0o1600),
        "open by handle": lambda: call("open_by_handle_at", -100, vector, 0),
        "a kernel module": lambda: call("init_module", vector, 0, b""),
        "kexec": lambda: call("kexec_load", 0, 0, None, 0),
        "reboot": lambda: call("reboot", 0, 0, 0, None),
        "CAP_SYS_ADMIN": lambda: gain(21),
        "CAP_DAC_OVERRIDE": lambda: gain(1),
        "CAP_SYS_PTRACE": lambda: gain(19),
    }
    if "instead" in aims:
        tried["another in its place"] = lambda: put_instead(aims["instead"])
    for path in aims["sockets"]:
        tried[f"connect to {path}"] = lambda path=path: connect(path)  # type: ignore[misc]
    for path in aims["read"]:
        tried[f"read {path}"] = lambda path=path: read(path)  # type: ignore[misc]
    for path in aims["write"]:
        tried[f"write {path}"] = lambda path=path: write(path)  # type: ignore[misc]
        tried[f"truncate {path}"] = lambda path=path: os.truncate(path, 0)  # type: ignore[misc]
        tried[f"remove {path}"] = lambda path=path: os.unlink(path)  # type: ignore[misc]
        tried[f"link {path}"] = lambda path=path: os.link(path, f"{path}.link")  # type: ignore[misc]
    for path in aims["list"]:
        tried[f"list {path}"] = lambda path=path: os.listdir(path)  # type: ignore[misc]
        tried[f"make in {path}"] = lambda path=path: write(f"{path}/new")  # type: ignore[misc]
    return tried


def report(aims: dict[str, Any]) -> dict[str, object]:
    """What came of each attempt."""
    found: dict[str, object] = {}
    for name, attempt in attempts(aims).items():
        if (aims["only"] and name not in aims["only"]) or name in aims["without"]:
            continue
        try:
            attempt()
            found[name] = True
        except OSError as error:
            found[name] = error.strerror
    found["uid"] = os.getuid()
    return found


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "unix"

    def do_GET(self) -> None:
        self._response({"status": "ok"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._response({"object": "chat.completion", "report": report(body["aims"])})

    def _response(self, document: object) -> None:
        data = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Server(socketserver.UnixStreamServer):
    def get_request(self) -> tuple[object, tuple[str, int]]:  # type: ignore[override]
        connection, _ = super().get_request()
        return connection, ("unix", 0)


def main() -> None:
    arguments = sys.argv[1:]
    if "--version" in arguments:
        print("version: hostile-1 (build 1, commit 1234567)")
    elif "--help" in arguments:
        print("--host (or a Unix socket) --model --alias --ctx-size --slot-save-path")
    else:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        Server(own_socket(), Handler).serve_forever()


if __name__ == "__main__":
    main()
