"""Where state and sockets lie where nobody has said so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runnerd.default_directories import default_runtime_dir, default_state_dir
from runnerd.errors import StartupError

NAMES = ("STATE_DIRECTORY", "RUNTIME_DIRECTORY", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "HOME")


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without any of the names."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd's folder counts before the user's; of several that it makes the first."""
    monkeypatch.setenv("HOME", "/home/ada")
    assert default_state_dir() == Path("/home/ada/.local/share/runnerd")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_state_dir() == Path("/data/runnerd")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/runnerd:/var/lib/more")
    assert default_state_dir() == Path("/var/lib/runnerd")


def test_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a folder of the login each user has one of its own, by number."""
    assert default_runtime_dir() == Path(f"/tmp/runnerd-{os.getuid()}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert default_runtime_dir() == Path("/run/user/7/runnerd")
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/runnerd:/run/more")
    assert default_runtime_dir() == Path("/run/runnerd")


def test_nobody_has_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to say instead is told."""

    def homeless() -> Path:
        raise RuntimeError("could not determine home directory")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(StartupError, match="--state-dir"):
        default_state_dir()
