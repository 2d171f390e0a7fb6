"""runnerd.backends.user_lending: who gets a user of its own, and what is in the way of others."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from runnerd.backends import engine_users, sandbox, user_lending
from runnerd.backends.commands import run_command
from runnerd.backends.engine_users import EngineUsers
from runnerd.backends.sandbox import Sandbox
from runnerd.backends.user_lending import UserLending
from tests.support.waiting import SECONDS

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root may become other users")
RANGE = "60840-60849"
PROGRAM = Path(sys.executable)
CODE = """
import os, sys
print(os.getuid(), os.getgid(), os.getgroups(), os.getcwd())
print(sorted(os.listdir(sys.argv[1])))
print(open(sys.argv[1] + "/m.gguf").read())
open(sys.argv[1] + "/own/x", "w").close()
print([line.split()[1] for line in open("/proc/self/status") if line.startswith("Cap")])
"""


@pytest.fixture
def lending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UserLending:
    monkeypatch.setattr(engine_users, "_LOCKS", tmp_path / "locks")
    return UserLending(EngineUsers(RANGE, tmp_path))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A closed folder with a model, something else, and a folder for the program."""
    made = tmp_path / "closed"
    (made / "own").mkdir(parents=True)
    made.chmod(0o700)
    (made / "m.gguf").write_text("weights")
    (made / "m.gguf").chmod(0o440)
    (made / "other").write_text("somebody else's")
    return made


@pytest.mark.parametrize("held", [True, False])
async def test_a_program_has_what_it_needs(lending: UserLending, folder: Path, held: bool) -> None:
    """Its user, its files under their names and nothing else of that folder; then all is back."""
    wanted = Sandbox(reads=(folder / "m.gguf",), writes=(folder / "own",), held=held)
    async with lending.lent(PROGRAM, wanted) as user:
        assert user is not None
        assert (folder / "own").stat().st_uid == user.uid
        made = Sandbox(wanted.programs, wanted.reads, wanted.writes, held=False, user=user)
        argv = [str(PROGRAM), "-I", "-c", CODE, str(folder)]
        result = await run_command(argv, timeout=30 * SECONDS, sandbox=made)
    whom, seen, read, capabilities = result.output.splitlines()
    assert whom == f"{user.uid} {user.uid} [] /"
    assert (seen, read) == ("['m.gguf', 'own']", "weights")
    assert {int(word, 16) for word in eval(capabilities)} == {0}
    assert ((folder / "own").stat().st_uid, (folder / "own" / "x").stat().st_uid) == (0, 0)
    assert stat.S_IMODE((folder / "m.gguf").stat().st_mode) == 0o444


@pytest.mark.parametrize("python", [True, False])
async def test_an_environment_that_is_closed(
    lending: UserLending,
    folder: Path,
    python: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An engine that lies in it has its user; what needs the Python in it runs as the daemon's."""
    environment = folder / "venv"
    (environment / "bin").mkdir(parents=True)
    environment.chmod(0o700)
    program = environment / "bin" / "llama-server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(user_lending, "own_python", lambda: (str(environment),))
    if python:
        monkeypatch.setattr(sys, "executable", str(program))
    async with lending.lent(program, Sandbox(programs=(program.parent,))) as user:
        assert (user is None) is python
    assert ("venv is closed to other users" in caplog.text) is python


async def test_what_is_in_the_way_is_said_once(
    lending: UserLending, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A borrowed file that is its owner's alone stays so, and costs the program its user."""
    theirs, link = folder / "theirs.gguf", folder / "link.gguf"
    theirs.write_text("x")
    theirs.chmod(0o600)
    link.symlink_to(theirs)
    for _ in range(2):
        wanted = Sandbox(reads=(link,), writes=(folder / "own",))
        async with lending.lent(PROGRAM, wanted) as user:
            assert user is None
            assert (folder / "own").stat().st_uid == 0
    assert stat.S_IMODE(theirs.stat().st_mode) == 0o600
    assert caplog.text.count("runs as the daemon's user") == 1
    assert "link.gguf cannot be read by another user (Permission denied)" in caplog.text


async def test_a_gpu_that_is_roots_alone(
    lending: UserLending,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An engine that could not use it runs as the daemon's user; others are not concerned."""
    node = folder.parent / "nvidiactl"
    node.touch()
    node.chmod(0o600)
    for module in (sandbox, user_lending):
        monkeypatch.setattr(module, "device_nodes", lambda: [str(node)])
    async with lending.lent(PROGRAM, Sandbox(devices=True)) as user:
        assert user is None
    assert "nvidiactl cannot be written to by another user" in caplog.text
    async with lending.lent(PROGRAM, Sandbox()) as user:
        assert user is not None
    node.chmod(0o666)
    async with lending.lent(PROGRAM, Sandbox(devices=True)) as user:
        assert user is not None
    lending.keep_on_devices("it was tried")
    async with lending.lent(PROGRAM, Sandbox(devices=True)) as user:
        assert user is None


async def test_who_has_not_asked_keeps_his_gpus(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody asked for changes nothing about engines on GPUs."""
    monkeypatch.setattr(engine_users, "_LOCKS", tmp_path / "locks")
    monkeypatch.setattr(engine_users, "_held", lambda: (1 << 41) - 1)
    monkeypatch.setattr(user_lending, "device_nodes", lambda: [str(folder / "m.gguf")])
    lending = UserLending(EngineUsers("auto", tmp_path))
    async with lending.lent(PROGRAM, Sandbox(devices=True)) as user:
        assert user is None
    async with lending.lent(PROGRAM, Sandbox()) as user:
        assert user is not None


async def test_no_number_is_left(
    lending: UserLending, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Then a program runs as the daemon's user."""
    monkeypatch.setattr(engine_users, "_accounts", lambda: set(range(60840, 60850)))
    async with lending.lent(PROGRAM, Sandbox()) as user:
        assert user is None
    assert "all numbers of `engine_uids` are taken" in caplog.text


def test_a_python_that_is_gone_is_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As any other path that is absent."""
    open_to_all, closed = tmp_path / "open", tmp_path / "closed"
    open_to_all.mkdir()
    open_to_all.chmod(0o755)
    closed.mkdir(mode=0o700)
    found = [str(each) for each in (open_to_all, closed, tmp_path / "gone")]
    monkeypatch.setattr(user_lending, "own_python", lambda: found)
    assert user_lending._python(tmp_path / "program") == [open_to_all]
