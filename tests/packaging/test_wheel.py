"""The wheel as people install it: with pip, pipx and uv, far from these sources."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import runnerd
from tests.packaging.conftest import ROOT
from tests.support.waiting import SECONDS, wait_for

pytestmark = [pytest.mark.engine, pytest.mark.packages, pytest.mark.timeout(600 * SECONDS)]

_TOOLS = Path(sys.executable).parent


class Home:
    """A user's home: nothing in it, and nothing of this environment in sight."""

    def __init__(self, folder: Path, engine: Path) -> None:
        self.folder = folder
        self.environ = {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "PATH": f"{engine.parent}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "RUNNERD_MEMORY_RESERVE": '{"default": 0}',
            # How packages are reached from here, where that is not the default.
            **{name: value for name, value in os.environ.items() if name.startswith(_NETWORK)},
        }
        folder.mkdir()
        (folder / "run").mkdir(mode=0o700)

    def run(self, *command: str | Path) -> str:
        """Run a command to its good end and return what it printed."""
        done = subprocess.run(
            [str(part) for part in command],
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout


_NETWORK = ("PIP_", "UV_", "SSL_CERT_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def with_pip(home: Home, wheel: Path) -> Path:
    """Install into an empty environment with pip."""
    home.run(sys.executable, "-m", "venv", "env")
    home.run("env/bin/python", "-m", "pip", "install", "--quiet", wheel)
    return home.folder / "env/bin/runnerd"


def with_pipx(home: Home, wheel: Path) -> Path:
    """Install with pipx."""
    home.run(_TOOLS / "pipx", "install", "--quiet", wheel)
    return home.folder / ".local/bin/runnerd"


def with_uv(home: Home, wheel: Path) -> Path:
    """Install with uv, whose environments have no pip."""
    python = ("--no-python-downloads", "--python", sys.executable)
    home.run(_TOOLS / "uv", "tool", "install", "--quiet", *python, wheel)
    return home.folder / ".local/bin/runnerd"


@pytest.mark.parametrize("install", [with_pip, with_pipx, with_uv])
def test_installed_daemon_answers(
    roomy: Path, wheel: Path, engine: Path, install: Callable[[Home, Path], Path]
) -> None:
    """The command of an installed wheel starts, loads a model, answers and stops."""
    home = Home(roomy / "home", engine)
    command = install(home, wheel)
    assert home.run(command, "version").split() == ["runnerd", runnerd.__version__]
    (roomy / "demo-a.gguf").write_bytes((ROOT / "demo/demo-a.gguf").read_bytes())
    with open(roomy / "log", "wb") as log:
        daemon = subprocess.Popen(
            [str(command), "serve", "--listen", "127.0.0.1:0"],
            env=home.environ,
            cwd=home.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        socket = home.folder / "run/runnerd/runnerd.sock"
        wait_for(socket.exists, "the daemon's socket")
        home.run(command, "import", roomy / "demo-a.gguf", "--tag", "demo-a")
        response = home.run(command, "run", "demo-a", "What is runnerd?")
        status = json.loads(home.run(command, "status", "--json"))
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(60 * SECONDS) == 0
    finally:
        daemon.kill()
        daemon.wait()
    assert "daemon" in response, response
    assert str(ROOT) not in json.dumps(status), "something came from the sources"
    assert "Traceback" not in (roomy / "log").read_text()
    assert not socket.exists()


def test_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    """Every module of the tree is in the wheel, under one name; so are the page's files and the
    mark that it is typed.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    folders = {"runnerd": ROOT / "runnerd", "runnerd/backends": ROOT / "backends"}
    folders["runnerd/sockets"] = ROOT / "sockets"
    expected = {
        f"{prefix}/{path.relative_to(folder)}"
        for prefix, folder in folders.items()
        for path in folder.rglob("*.py")
        if not path.relative_to(folder).is_relative_to("backends")
        and not path.relative_to(folder).is_relative_to("sockets")
    }
    page = {f"runnerd/web/{path.name}" for path in (ROOT / "runnerd/web").iterdir()}
    assert names == expected | page | {"runnerd/py.typed"}


def test_source_distribution_has_what_installing_takes(wheel: Path) -> None:
    """Unit files, container file, demo models and tests come with the sources."""
    (archive,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(archive) as sources:
        names = {name.partition("/")[2] for name in sources.getnames()}
    assert {
        "Makefile",
        "Containerfile",
        "docs/install.md",
        "systemd/install.sh",
        "systemd/uninstall.sh",
        "demo/demo-a.gguf",
        "tests/packaging/test_wheel.py",
    } <= names
