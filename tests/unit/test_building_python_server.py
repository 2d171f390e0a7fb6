"""runnerd.backends.llamacpp.building.python_server: what pip installs, and who can read it."""

from __future__ import annotations

import os
import stat
import sys
import sysconfig
from pathlib import Path

import pytest

from runnerd.backends.llamacpp.building import python_server as module

# As much of pip as matters here: it writes files, and its arguments down.
PIP = """#!/bin/sh
mkdir {site}/llama_cpp
echo "$@" > {site}/llama_cpp/__init__.py
exit {status}
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages without any of the server's."""
    monkeypatch.setattr(module, "has_packages", lambda: False)
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"purelib": str(tmp_path)})
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path


def pip(site: Path, monkeypatch: pytest.MonkeyPatch, status: int = 0) -> None:
    """Put a pip in the place of the real one."""
    python = site / "python"
    python.write_text(PIP.format(site=site, status=status))
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))


def test_everybody_can_read_it(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine may run as another user than the one who installs."""
    pip(site, monkeypatch)
    assert module.install_python_server(site / "engines") == 0
    written = site / "llama_cpp" / "__init__.py"
    assert stat.S_IMODE(written.stat().st_mode) == 0o644
    assert stat.S_IMODE(written.parent.stat().st_mode) == 0o755
    assert "install --quiet --no-cache-dir llama-cpp-python[server]==" in written.read_text()


def test_its_libraries_are_no_exception(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are linked into a folder that everybody can enter, whatever the umask."""
    pip(site, monkeypatch)
    engine = site / "engines" / "cpu"
    for folder in ("bin", "lib"):
        (engine / folder).mkdir(parents=True)
    (engine / "bin" / "llama-server").touch(mode=0o755)
    (engine / "lib" / "libllama.so").touch()
    before = os.umask(0o077)
    try:
        assert module.install_python_server(site / "engines") == 0
    finally:
        os.umask(before)
    libraries = site / "llama_cpp" / "lib"
    assert (libraries / "libllama.so").is_symlink()
    assert stat.S_IMODE(libraries.stat().st_mode) == 0o755


def test_what_is_in_the_way(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pip's failure is the command's."""
    pip(site, monkeypatch, status=3)
    assert module.install_python_server(site / "engines") == 1
    assert not (site / "llama_cpp" / "lib").exists()
    assert "Installing" in capsys.readouterr().err
