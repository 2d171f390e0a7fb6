"""pantry-rs, unmodified, against the daemon: over its default socket, and over TCP.

Cargo gets the library; where there is no cargo or no registry, nothing is tried.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.fileserver import serving

pytestmark = [pytest.mark.engine, pytest.mark.clients]

_ROOT = Path(__file__).parents[2]
_PROGRAM = Path(__file__).with_name("programs") / "pantry"
_KEPT = _ROOT / ".venv-clients" / "cargo"  # so that it is compiled once
_SECONDS = 600
_DEFAULT = Path("/tmp/pantrylocal.sock")  # which pantry-rs has written into it


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled program; skips where that cannot be."""
    if shutil.which("cargo") is None:
        pytest.skip("there is no cargo on this machine")
    folder = tmp_path_factory.mktemp("pantry") / "program"
    shutil.copytree(_PROGRAM, folder)
    target = _KEPT if _KEPT.parent.is_dir() else folder / "target"
    environment = os.environ | {"CARGO_TARGET_DIR": str(target)}
    fetched = subprocess.run(
        ["cargo", "fetch", "--quiet"], cwd=folder, capture_output=True, text=True,
        timeout=_SECONDS, check=False,
    )  # fmt: skip
    if fetched.returncode != 0:
        pytest.skip(f"cargo cannot get pantry-rs: {fetched.stderr[-300:]}")
    built = subprocess.run(
        ["cargo", "build", "--quiet", "--offline"], cwd=folder, capture_output=True, text=True,
        timeout=_SECONDS, check=False, env=environment,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr[-3000:]
    return target / "debug" / "pantry-program"


def played(daemon: DaemonProcess, program: Path, *arguments: str) -> dict[str, Any]:
    """What the program got; what it asks the owner for is accepted."""
    with subprocess.Popen(
        [str(program), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("ASKED "):
                path = f"/runnerd/approvals/{line.split()[1]}/accept"
                daemon.http.post(path).raise_for_status()
        _, complaints = process.communicate(timeout=_SECONDS)
    assert process.returncode == 0, "".join(lines[-5:]) + complaints[-3000:]
    found: dict[str, Any] = json.loads(lines[-1])
    return found


@pytest.mark.covers("POST /load_llm_flex", "filter", "preference")
@pytest.mark.timeout(2 * _SECONDS)
@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_pantry_rs(program: Path, tmp_path: Path, transport: str) -> None:
    """Register, ask, download, load, session, prompt, interrupt, bare model, unload."""
    if transport == "unix" and _DEFAULT.exists():
        pytest.skip(f"somebody else's {_DEFAULT} is there")
    model = (_ROOT / "demo" / "demo-a.gguf").read_bytes()
    settings = {
        "RUNNERD_ALLOWED_SOURCES": '["127.0.0.1"]',
        "RUNNERD_PANTRY__ENABLED": "true",
        "RUNNERD_PANTRY__SOCKET": str(_DEFAULT if transport == "unix" else tmp_path / "p.sock"),
        "RUNNERD_PANTRY__LISTEN": "127.0.0.1:0",
    }
    with serving(model) as server, running(tmp_path / "daemon", env=settings) as daemon:
        target = "-" if transport == "unix" else daemon.address
        found = played(daemon, program, server.url(), target)
        assert Path(found["path"]).read_bytes() == model
    status, text = found["refused"]
    assert status == 401
    assert text.startswith("Incorrect Permissions")
    for name in (
        "accepted",
        "downloaded",
        "loaded",
        "known",
        "running",
        "same",
        "first",
        "interrupted",
        "completed",
        "unloaded",
    ):
        assert found[name] is True, (name, found)
    assert found["capabilities"] == 1  # it cannot read a status with any that it does not know
    assert found["progress"] == 100
    assert 0 < found["pieces"] <= 5
    assert found["available"] == 2
