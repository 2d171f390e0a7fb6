"""Debian's docker-registry as a process of its own, on loopback, with a folder as its storage."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.plain_http import NO_TLS
from tests.support.ports import reserved_port
from tests.support.waiting import wait_for

REGISTRY = shutil.which("docker-registry")

_CONFIG = """\
version: 0.1
storage:
  filesystem: {{rootdirectory: {root}}}
http: {{addr: 127.0.0.1:{port}}}
log: {{level: error}}
"""


class RegistryProcess:
    """A running registry; `host` is its host:port."""

    def __init__(self, host: str, root: Path) -> None:
        self.host = host
        self.root = root

    @property
    def settings(self) -> dict[str, str]:
        """The environment that lets a daemon use it."""
        return {"RUNNERD_INSECURE_REGISTRIES": f'["{self.host}"]'}

    def tags(self, repository: str) -> list[str]:
        """Return the tags of a repository."""
        response = httpx.get(f"http://{self.host}/v2/{repository}/tags/list", verify=NO_TLS)
        return list(response.json().get("tags") or []) if response.status_code == 200 else []


@contextmanager
def running_registry(root: Path, *, auth: str = "") -> Iterator[RegistryProcess]:
    """Run a registry for the length of a with block; `auth` is added to its configuration."""
    if REGISTRY is None:
        pytest.skip("docker-registry is not installed (apt install docker-registry)")
    root.mkdir(exist_ok=True)
    with reserved_port() as port:
        config = root / "registry.yml"
        config.write_text(_CONFIG.format(root=root / "storage", port=port) + auth)
        process = subprocess.Popen(
            [REGISTRY, "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_for(lambda: _responses(port), "the registry to answer")
            yield RegistryProcess(f"127.0.0.1:{port}", root / "storage")
        finally:
            process.kill()
            process.wait()


def _responses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
