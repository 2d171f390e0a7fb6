"""The first minute: a model, a question, a response on the screen.

The greeter is a process of its own beside the daemon (forked twice, so that nobody has to wait for
it); it uses the daemon as any client does and ends when it has printed the response.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import socket
import struct
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from runnerd.cli.client import Client, default_address
from runnerd.cli.tables import familiar
from runnerd.errors import RunnerdError

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
SERVICE = Path("/run/runnerd/runnerd.sock")  # of the system's service

_QUESTION = "What is runnerd?"
_DEMO = Path(__file__).parents[2] / "demo" / "demo-a.gguf"


def daemon_answers(path: Path) -> bool:
    """Return whether something accepts connections on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def running_daemon(paths: Iterable[Path]) -> tuple[Path, str] | None:
    """The first socket at which a daemon answers, and whose it is; None where none does.

    The kernel says who listens there.
    """
    for path in dict.fromkeys(paths):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
            packed = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            pid, uid, _ = _CREDENTIALS.unpack(packed)
            return path, f"process {pid} of {_user(uid)}"
    return None


def _user(uid: int) -> str:
    if uid == os.getuid():
        return "yours"
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def greet_in_background(path: Path, *, found: bool) -> None:
    """Start the greeter; it waits for the daemon that this process becomes, and ends with it."""
    daemon = os.getpid()
    sys.stdout.flush()
    if (middle := os.fork()) > 0:
        os.waitpid(middle, 0)
        return
    if os.fork() > 0:
        os._exit(0)
    try:
        while not daemon_answers(path):
            os.kill(daemon, 0)
            time.sleep(0.05)
        greet(path, found=found)
    except ProcessLookupError:
        pass  # the daemon could not start and has said why
    finally:
        sys.stdout.flush()
        os._exit(0)


def greet(path: Path, *, found: bool, begun: bool = True) -> int:
    """See to a model, ask it one question, print the response and how to repeat it.

    `found` is a socket that nobody has named: who listens there is checked.  `begun` says that the
    daemon is this terminal's.
    """
    client = Client(f"unix://{path}", found=found)
    try:
        model = _model(client)
        request = {
            "model": model,
            "messages": [{"role": "user", "content": _QUESTION}],
            "max_tokens": 64,
        }
        print(f"Asking {model}: {_QUESTION}", flush=True)
        response = client.json("POST", "/engines/llama.cpp/v1/chat/completions", request)
    except RunnerdError as error:
        print(f"runnerd: {error.message}", file=sys.stderr, flush=True)
        return 1
    print(f"\n    {response['choices'][0]['message']['content']}\n\nAsk again with:\n")
    print(
        f"curl --unix-socket {path} http://localhost/engines/llama.cpp/v1/chat/completions"
        f" -H 'Content-Type: application/json' -d '{json.dumps(request)}'\n"
    )
    print(f"In another terminal: {talking(path, model)}\n")
    if begun:
        print("The daemon stays up; Ctrl-C stops it.", flush=True)
    else:
        print("The daemon was there before and stays; none was started here.", flush=True)
    return 0


def talking(path: Path, model: str) -> str:
    """What to type in another terminal to talk to a model of the daemon at `path`.

    The command goes by its path where it is not on the PATH, and the socket is named where this
    terminal's variables, which another one may not have, say which it is.
    """
    command = "runnerd"
    if not shutil.which(command):
        command = os.path.relpath(Path(sysconfig.get_path("scripts")) / command)
    named = any(name in os.environ for name in ("RUNNERD_SOCKET", "RUNNERD_RUNTIME_DIR"))
    host = f" --host {path}" if named or default_address() != f"unix://{path}" else ""
    return f"{command}{host} run {familiar(model)}"


def _model(client: Client) -> str:
    """Return the name of a model that can chat, having imported one into an empty store."""
    for model in client.json("GET", "/models"):
        if "completion" in model["runnerd"]["capabilities"] and model.get("tags"):
            return str(model["tags"][0])
    if _DEMO.is_file():
        print("The store is empty; importing the demo model", flush=True)
        return _import(client, _DEMO, "demo-a")
    print("The store is empty; making a tiny model (it knows nothing)", flush=True)
    from runnerd.models import tiny

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.gguf"
        tiny.write_completion_model(path)
        return _import(client, path, "tiny")


def _import(client: Client, path: Path, tag: str) -> str:
    document = {"path": str(path), "tag": tag}
    last: dict[str, Any] = {}
    for line in client.lines("POST", "/models/import", document):
        last = json.loads(line)
    if last.get("type") != "success":
        raise RunnerdError(str(last.get("message", "the import did not finish")))
    return str(last["model"]["tags"][0])
