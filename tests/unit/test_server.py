"""runnerd.backends.llamacpp.server: which llama-server is used, and whether it runs."""

from __future__ import annotations

import asyncio
import os
import shlex
import sysconfig
from pathlib import Path

import pytest

from runnerd.backends.llamacpp import hardware
from runnerd.backends.llamacpp import places as rooms
from runnerd.backends.llamacpp import server as module
from runnerd.backends.llamacpp.hardware import Hardware
from runnerd.backends.llamacpp.native_server import NativeServer, UnfitEngine
from runnerd.backends.llamacpp.server import ServerFinder
from runnerd.backends.llamacpp.settings import parse_settings
from runnerd.backends.llamacpp.trial.identity import Processor
from runnerd.backends.llamacpp.trial.verdicts import FILE_NAME
from runnerd.errors import BackendFailure, StartupError
from tests.support.builds import real_server
from tests.support.engines import pass_trial

COVERS = ("runnerd.backends.llamacpp.settings",)

SOUND = "echo 'version: 0.5.0-dev (build 1, commit 0c1e570)'; echo '--no-ui, --offline  x--y'"
DIES = f'case "$*" in *--model*) kill -ILL $$;; esac; {SOUND}'
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
    monkeypatch.setattr(rooms, "environment_root", lambda: tmp_path / "env")
    monkeypatch.setattr(rooms, "_USUAL", ())
    monkeypatch.setattr(hardware, "look", lambda: Hardware())
    return {
        "cuda": rooms.server_in(tmp_path / "env", "cuda"),
        "cpu": rooms.server_in(tmp_path / "state", "cpu"),
        "bundled": tmp_path / "site" / "bin" / "llama-server",
        "path": tmp_path / "bin" / "llama-server",
    }


def finder(tmp_path: Path, **settings: object) -> ServerFinder:
    # The scripts write down what they are asked, beside themselves.
    return ServerFinder(parse_settings({"sandbox": False, **settings}), tmp_path / "state")


async def test_nothing_is_there(tmp_path: Path, places: dict[str, Path]) -> None:
    """No server is no error."""
    empty = finder(tmp_path)
    assert await empty.find() is None
    assert not empty.likely()
    assert (empty.version, empty.problem) == (None, None)


@pytest.mark.parametrize("place", ["cuda", "cpu", "bundled", "path"])
async def test_each_place(tmp_path: Path, places: dict[str, Path], place: str) -> None:
    """A server is found wherever it may be, with its version and its options."""
    path = script(places[place], SOUND)
    found = await finder(tmp_path).find()
    assert found is not None
    assert (found.path, found.version) == (path, "0.5.0-dev (0c1e570)")
    assert found.options == {"--no-ui", "--offline"}
    assert found.name == place


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
    assert asked.read_text().split() == ["--version", "--help", "--host"]  # the last: its trial
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


async def test_one_that_dies_is_passed_over(tmp_path: Path, places: dict[str, Path]) -> None:
    """An engine for another processor is known by its trial; its owner learns what to do."""
    dead = script(places["cpu"], DIES)
    one = finder(tmp_path)
    with pytest.raises(UnfitEngine, match=r"runnerd install llama\.cpp --rebuild"):
        await one.find()
    assert not one.likely()
    script(places["path"], SOUND)
    found = await one.find()
    assert found is not None
    assert found.path == places["path"]
    asked = (dead.parent / "asked").read_text().split()
    assert await finder(tmp_path).find()
    assert len((dead.parent / "asked").read_text().split()) == len(asked) + 2  # not tried again


async def test_a_foreign_one_that_dies(tmp_path: Path, places: dict[str, Path]) -> None:
    """What somebody else has built is not built again in its place."""
    script(places["path"], DIES)
    with pytest.raises(UnfitEngine, match=r"SIGILL with a decoder.*llama.cpp --with cpu"):
        await finder(tmp_path).find()


async def test_one_that_runs_with_a_flag(tmp_path: Path, places: dict[str, Path]) -> None:
    """Where only rearranged weights are its end, it is used without them, with a warning."""
    real = shlex.quote(str(real_server()))
    script(
        places["path"],
        f'case "$*" in *--no-repack*) ;; *--model*) kill -ILL $$;; esac\nexec {real} "$@"',
    )
    found = await finder(tmp_path).find()
    assert found is not None
    assert found.flags == ("--no-repack",)
    assert "slower" in found.warning


@pytest.mark.parametrize("content", [
    "", "[]", "{", "nonsense", '{"x": 1}', "\x00", "[" * 100_000,
])  # fmt: skip
async def test_a_broken_cache_is_only_a_cache(
    tmp_path: Path, places: dict[str, Path], content: str
) -> None:
    """Whatever lies where verdicts are kept, the engine is tried and the verdict written anew."""
    script(places["path"], DIES)
    file = tmp_path / "state" / FILE_NAME
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)
    for _ in range(2):
        with pytest.raises(UnfitEngine):
            await finder(tmp_path).find()
    asked = (places["path"].parent / "asked").read_text().split()
    assert asked.count("--host") == 1


async def test_a_verdict_of_another_processor(
    tmp_path: Path, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verdict holds for the processor that it was found on."""
    script(places["path"], DIES)
    pass_trial(places["path"])
    assert await finder(tmp_path).find()
    monkeypatch.setattr(module, "this_processor", lambda: Processor("x86_64", "", frozenset()))
    with pytest.raises(UnfitEngine):
        await finder(tmp_path).find()


async def test_concurrent_callers_share_a_trial(tmp_path: Path, places: dict[str, Path]) -> None:
    """Five requests for the first model, one trial."""
    script(places["path"], SOUND)
    one = finder(tmp_path)
    await asyncio.gather(*(one.find() for _ in range(5)))
    assert (places["path"].parent / "asked").read_text().split().count("--host") == 1


async def test_a_card_prefers_who_uses_it(
    tmp_path: Path, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a GPU here, the engine that lists it comes first; else its owner is told."""
    monkeypatch.setattr(hardware, "look", lambda: Hardware(nvidia=("/dev/nvidia0",)))
    script(places["cpu"], SOUND)
    one = finder(tmp_path)
    server = await one.find()
    assert server is not None
    assert "apt install nvidia-cuda-toolkit" in one.unused_cards(server)
    assert "runnerd install llama.cpp --with cuda" in one.unused_cards(server)
    devices = "echo 'Available devices:'; echo '  CUDA0: NVIDIA H100 (1 MiB)'; echo --list-devices"
    script(places["path"], f"{SOUND}; {devices}")
    server = await one.find()
    assert server is not None
    assert (server.path, server.devices) == (places["path"], ("CUDA0",))
    assert one.unused_cards(server) == ""


async def test_a_named_engine(tmp_path: Path, places: dict[str, Path]) -> None:
    """A setting or a model's configuration chooses; what is not there is said with what is."""
    script(places["cuda"], SOUND)
    script(places["cpu"], SOUND)
    for name in ("cpu", "cuda"):
        for found in (
            await finder(tmp_path, server=name).find(),
            await finder(tmp_path).find(name),
        ):
            assert found is not None
            assert found.path == places[name]
    with pytest.raises(BackendFailure, match=r"no engine 'rocm' \(there is: cpu, cuda\)"):
        await finder(tmp_path).find("rocm")


async def test_one_that_is_too_old(tmp_path: Path, places: dict[str, Path]) -> None:
    """One that knows no Unix sockets is told, not started."""
    script(places["path"], "echo 'version: 3000 (abc)'; echo '--host HOST  ip address to listen'")
    one = finder(tmp_path)
    assert await one.find() is None
    assert one.problem is not None
    assert "too old" in one.problem


def test_the_fit_tool_lies_beside(tmp_path: Path) -> None:
    """The estimator is used only where it is there."""
    server = NativeServer(script(tmp_path / "llama-server", ""), "1", frozenset())
    assert server.fit_tool is None
    tool = script(tmp_path / "llama-fit-params", "")
    assert server.fit_tool == tool
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "llama-server").symlink_to(server.path)
    linked = NativeServer(tmp_path / "links" / "llama-server", "1", frozenset())
    assert linked.fit_tool == tool
    assert any("llama-quantize" in lack for lack in linked.lacks)


def test_library_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LD_LIBRARY_PATH is the setting's, never the daemon's."""
    monkeypatch.setenv("LD_LIBRARY_PATH", "/evil")
    assert "LD_LIBRARY_PATH" not in finder(tmp_path).environment()
    environment = finder(tmp_path, extra_library_path=["/a", "/b"]).environment()
    assert environment["LD_LIBRARY_PATH"] == "/a:/b"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"servr": 1}, "servr: there is no such setting; is server meant?"),
        ({"server": "X y"}, "server: must be the name of an engine"),
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
