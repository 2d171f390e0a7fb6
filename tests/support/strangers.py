"""Requests of another user of this host: a real process with another uid."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

import pytest

NOBODY = 65534
# With nothing but the standard library, so that any Python will do: ours may lie where others may
# not look.  Prints the status and the body.
_PROGRAM = """
import http.client, json, socket, sys
where, method, path, headers, body = json.loads(sys.argv[1])
connection = http.client.HTTPConnection("localhost")
if where.startswith("/"):
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(where)
else:
    host, port = where.rsplit(":", 1)
    connection = http.client.HTTPConnection(host.strip("[]"), int(port))
connection.request(method, path, body, headers)
response = connection.getresponse()
print(json.dumps([response.status, response.read().decode()]))
"""


@dataclass(frozen=True)
class Response:
    """What a stranger was answered."""

    status: int
    text: str


def needs_root() -> pytest.MarkDecorator:
    """Skip a test that has to be another user of this host."""
    return pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def ask_as(
    uid: int,
    where: str,
    method: str,
    path: str,
    *,
    headers: dict[str, str] | None = None,
    body: str | None = None,
    groups: tuple[int, ...] = (),
) -> Response:
    """Ask as a process of `uid`; `where` is a socket's path or HOST:PORT."""
    python = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
    asked = json.dumps([where, method, path, headers or {}, body])
    done = subprocess.run(
        [python, "-I", "-c", _PROGRAM, asked],
        user=uid,
        group=groups[0] if groups else NOBODY,
        extra_groups=list(groups),
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Response(*json.loads(done.stdout))
