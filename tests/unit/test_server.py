"""runnerd.backends.llamacpp.server: which llama-server is used, and whether it runs."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import pytest

from runnerd.backends.llamacpp import server as module
from runnerd.backends.llamacpp.install import installed_server
from runnerd.backends.llamacpp.server import ServerFinder
from runnerd.backends.llamacpp.settings import parse_settings
from runnerd.errors import BackendFailure, StartupError

SOUND = "echo 'version: 0.5.0-dev (build 1, commit 0c1e570)'; echo '--no-ui, --offline  x--y'"
BROKEN = "echo 'error while loading shared libraries: libllama.so' >&2; exit 127"


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\necho "$1" >> {path.parent}/asked\n{body}\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Where servers may be: bundled, installed, on the PATH; all empty."""
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"purelib": str(tmp_path / "site")})
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return {
        "bundled": tmp_path / "site" / "bin" / "llama-server",
        "installed": installed_server(tmp_path / "state"),
        "path": tmp_path / "bin" / "llama-server",
    }


def finder(tmp_path: Path, **settings: object) -> ServerFinder:
    return ServerFinder(parse_settings(settings), tmp_path / "state")


async def test_nothing_is_there(tmp_path: Path, places: dict[str, Path]) -> None:
    """No server is no error."""
    empty = finder(tmp_path)
    assert await empty.find() is None
    assert not empty.likely()
    assert (empty.version, empty.problem) == (None, None)


@pytest.mark.parametrize("place", ["bundled", "installed", "path"])
async def test_each_place(tmp_path: Path, places: dict[str, Path], place: str) -> None:
    """A server is found wherever it may be, with its version and its options."""
    path = script(places[place], SOUND)
    found = await finder(tmp_path).find()
    assert found is not None
    assert (found.path, found.version) == (path, "0.5.0-dev (0c1e570)")
    assert found.options == {"--no-ui", "--offline"}


async def test_a_broken_one_is_passed_over(tmp_path: Path, places: dict[str, Path]) -> None:
    """A bundled server without its libraries does not hide the one on the PATH."""
    script(places["bundled"], BROKEN)
    one = finder(tmp_path)
    assert one.likely()
    assert await one.find() is None
    assert not one.likely()
    assert one.problem is not None
    assert "error while loading shared libraries" in one.problem
    script(places["path"], SOUND)
    found = await one.find()
    assert found is not None
    assert found.path == places["path"]


async def test_it_is_asked_once_until_it_changes(tmp_path: Path, places: dict[str, Path]) -> None:
    """Version and options are kept until the file is another one."""
    path = script(places["path"], SOUND)
    one = finder(tmp_path)
    assert await one.find() == await one.find()
    asked = path.parent / "asked"
    assert asked.read_text().split() == ["--version", "--help"]
    script(path, SOUND.replace("0.5.0-dev", "0.6.0"))
    os.utime(path, ns=(0, 12345))
    found = await one.find()
    assert found is not None
    assert found.version == "0.6.0 (0c1e570)"
    assert one.version == found.version


async def test_a_configured_path_is_the_only_one(tmp_path: Path, places: dict[str, Path]) -> None:
    """A configured server that does not run is an error, not a reason to take another."""
    script(places["path"], SOUND)
    with pytest.raises(BackendFailure, match="/no/such is not an executable"):
        await finder(tmp_path, path="/no/such").find()
    broken = script(tmp_path / "mine", BROKEN)
    with pytest.raises(BackendFailure, match="shared libraries"):
        await finder(tmp_path, path=str(broken)).find()


def test_the_fit_tool_lies_beside(tmp_path: Path) -> None:
    """The estimator is used only where it is there."""
    server = module.NativeServer(script(tmp_path / "llama-server", ""), "1", frozenset())
    assert server.fit_tool is None
    tool = script(tmp_path / "llama-fit-params", "")
    assert server.fit_tool == tool


def test_library_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LD_LIBRARY_PATH is the setting's, never the daemon's."""
    monkeypatch.setenv("LD_LIBRARY_PATH", "/evil")
    assert "LD_LIBRARY_PATH" not in finder(tmp_path).environment()
    environment = finder(tmp_path, extra_library_path=["/a", "/b"]).environment()
    assert environment["LD_LIBRARY_PATH"] == "/a:/b"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"servr": 1}, "servr: Extra inputs"),
        ({"server": "x"}, "server: Input should be 'auto', 'native' or 'python'"),
        ({"default_context": 1}, "default_context: "),
        ({"path": "bin/llama-server"}, "must be an absolute path"),
        ({"parallel": 0}, "parallel: "),
    ],
)
def test_wrong_settings(table: dict[str, object], message: str) -> None:
    """The message names the table, the setting and what is allowed."""
    with pytest.raises(StartupError) as caught:
        parse_settings(table)
    assert message in caught.value.message
    assert '[backends."llama.cpp"]' in caught.value.message
