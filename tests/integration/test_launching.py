"""`runnerd launch`: clients get what they need to find the daemon's models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import DaemonProcess, running

pytestmark = pytest.mark.engine

_DEMO = Path(__file__).parents[2] / "demo" / "demo-a.gguf"
_CLIENT = """#!{python}
import json, os, sys
names = [n for n in os.environ if n.startswith(("ANTHROPIC", "OPENCODE", "RUNNERD_CLIENT"))]
print(json.dumps([sys.argv[1:], {{name: os.environ[name] for name in names}}]))
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with demo-a."""
    with running(tmp_path_factory.mktemp("launch")) as daemon:
        daemon.import_model(_DEMO, "demo-a")
        yield daemon


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Stand-ins of the clients, which print what they were started with."""
    for name in ("claude", "codex", "opencode"):
        (tmp_path / name).write_text(_CLIENT.format(python=sys.executable))
        (tmp_path / name).chmod(0o755)
    return tmp_path


def launch(
    daemon: DaemonProcess, programs: Path, *arguments: str, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the command over TCP."""
    return subprocess.run(
        [sys.executable, "-m", "runnerd", "--host", daemon.address, "launch", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": str(programs), "ANTHROPIC_API_KEY": "sk-other", **env},
    )


def test_claude(daemon: DaemonProcess, programs: Path) -> None:
    """Its own key does not go along; what stands behind -- does."""
    done = launch(daemon, programs, "claude", "--", "--continue")
    arguments, variables = json.loads(done.stdout)
    assert arguments == ["--continue"]
    assert variables["ANTHROPIC_BASE_URL"] == daemon.address
    assert variables["ANTHROPIC_MODEL"] == "demo-a"
    assert "ANTHROPIC_API_KEY" not in variables


def test_codex_and_opencode(daemon: DaemonProcess, programs: Path) -> None:
    """By arguments, and by a document in a variable."""
    done = launch(daemon, programs, "codex", "--model", "demo-a", RUNNERD_KEY="k" * 43)
    assert done.returncode == 1  # this key is nobody's
    done = launch(daemon, programs, "codex", "--model", "demo-a")
    arguments, variables = json.loads(done.stdout)
    assert arguments[-2:] == ["-m", "demo-a"]
    assert f'model_providers.runnerd.base_url="{daemon.address}/v1"' in arguments
    assert variables["RUNNERD_CLIENT_KEY"]
    _, variables = json.loads(launch(daemon, programs, "opencode").stdout)
    document = json.loads(variables["OPENCODE_CONFIG_CONTENT"])
    assert document["model"] == "runnerd/demo-a"


def test_what_is_missing_is_told(daemon: DaemonProcess, programs: Path, tmp_path: Path) -> None:
    """A client, a model, an address."""
    assert "did you mean demo-a" in launch(daemon, programs, "claude", "--model", "demo-x").stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "npm install -g @openai/codex" in launch(daemon, empty, "codex").stderr
    printed = launch(daemon, empty, "claude", "--print").stdout
    assert printed.startswith("unset ANTHROPIC_API_KEY\nexport ANTHROPIC_BASE_URL=")
    done = subprocess.run(
        [sys.executable, "-m", "runnerd", "--host", f"unix://{daemon.socket}", "launch", "codex"],
        capture_output=True,
        text=True,
        env={**os.environ, "RUNNERD_LISTEN": "127.0.0.1:1"},
    )
    assert "--host http://HOST:PORT" in done.stderr
