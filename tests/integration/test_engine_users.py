"""Everything that the daemon does to an engine goes on where the engine has a user of its own."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from runnerd.backends import landlock
from runnerd.backends.configuration import BackendMode
from runnerd.backends.environment import child_environment
from runnerd.backends.llamacpp import LlamaCppBackend
from runnerd.backends.llamacpp.isolation import Isolation
from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.backends.llamacpp.trial.running import Subject, try_engine
from runnerd.backends.llamacpp.trial.verdicts import Verdict
from runnerd.cli.ps import row
from runnerd.cli.runners import described
from runnerd.models import tiny
from tests.integration.test_llamacpp_backend import started
from tests.integration.test_saved_slots import FEW, ask, saved
from tests.support.builds import real_server
from tests.support.daemon import DaemonProcess, running
from tests.support.engines import context
from tests.support.runners import children
from tests.support.two_models import two_models
from tests.support.waiting import wait_for

FIRST, LAST = 60600, 60699
RANGE = f"{FIRST}-{LAST}"
SETTINGS = {"threads": 1, "memory_reserve": 16, "engine_uids": RANGE}
pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.getuid() != 0, reason="only root may give users to engines"),
]


def settings(**more: object) -> dict[str, str]:
    return {"RUNNERD_BACKENDS": json.dumps({"llama.cpp": SETTINGS | more})}


def uids(daemon: DaemonProcess) -> list[int]:
    """The users of the engines that there are."""
    return [engine.uids().real for engine in daemon.engines()]


def left(uid: int) -> list[psutil.Process]:
    """The processes of a user."""
    return [
        process
        for process in psutil.process_iter(["uids"])
        if process.info["uids"] is not None and uid in process.info["uids"]
    ]


def held(daemon: DaemonProcess) -> int:
    """The bytes that the one runner was seen to hold."""
    [runner] = daemon.http.get("/runnerd/overview").json()["runners"]
    return sum(amounts["held"] or 0 for amounts in runner["memory"].values())


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon with room for one of two models, whose engines have users."""
    with two_models(tmp_path, env=settings()) as daemon:
        yield daemon


def test_a_model_that_goes_does_not_forget(daemon: DaemonProcess) -> None:
    """Slots are saved by one user, are the daemon's meanwhile, and are read by another one."""
    cold, evaluated, _ = ask(daemon.http)
    assert evaluated > FEW
    (first,) = uids(daemon)
    assert FIRST <= first <= LAST
    ask(daemon.http, model="b")
    (kept,) = saved(daemon)
    assert (kept.stat().st_uid, stat.S_IMODE(kept.stat().st_mode)) == (0, 0o600)
    assert left(first) == []
    warm, evaluated, _ = ask(daemon.http)
    assert (warm, evaluated < FEW) == (cold, True)
    (again,) = uids(daemon)
    assert FIRST <= again <= LAST
    assert again != first
    assert f"(as uid {again})" in daemon.text()
    assert daemon.terminate() == 0
    assert left(again) == []
    assert {path.lstat().st_uid for path in daemon.state_dir.rglob("*")} == {0}


def test_the_daemon_sees_to_it_as_ever(daemon: DaemonProcess) -> None:
    """Its memory is read, its user is told, its score is an engine's, and it goes when it is told
    to or killed.
    """
    ask(daemon.http)
    (engine,) = daemon.engines()
    wait_for(lambda: daemon.ps()[0]["user"] == engine.uids().real, "its user to be told")
    [runner] = daemon.http.get("/runnerd/overview").json()["runners"]
    assert row(runner, user=True)[-1] == engine.uids().real
    assert f"as uid {engine.uids().real}" in described(daemon.ps()[0])
    assert int(Path(f"/proc/{engine.pid}/oom_score_adj").read_text()) == 500
    folder = Path(daemon.ps()[0]["socket"].removesuffix(".sock"))
    assert (folder.stat().st_uid, stat.S_IMODE(folder.stat().st_mode)) == (
        engine.uids().real,
        0o700,
    )
    wait_for(lambda: held(daemon), "what it holds")
    uid = engine.uids().real
    assert daemon.http.post("/engines/unload", json={"all": True}).status_code == 200
    wait_for(lambda: not left(uid), "its end")
    ask(daemon.http)
    (engine,) = daemon.engines()
    daemon.kill()
    wait_for(lambda: not engine.is_running() or engine.status() == "zombie", "its end")
    daemon.start()
    ask(daemon.http)
    assert len(uids(daemon)) == 1


def test_files_of_all_kinds_can_be_read(tmp_path: Path) -> None:
    """Each part of a split model, and what is borrowed from a home as long as its owner lets others
    read it; else that one engine runs as the daemon's user, and a line says so, once.
    """
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    tiny.write_completion_model(home / "shared.gguf", name="shared", seed=3)
    tiny.write_completion_model(home / "private.gguf", name="private", seed=4)
    (home / "shared.gguf").chmod(0o644)
    (home / "private.gguf").chmod(0o600)
    (tmp_path / "parts").mkdir()
    parts = tiny.write_sharded_model(tmp_path / "parts")
    assert len(parts) > 1
    with running(tmp_path / "d", env=settings()) as daemon:
        daemon.import_model(parts[0], "split")
        for name in ("shared", "private"):
            response = daemon.http.post(
                "/models/import",
                json={"path": str(home / f"{name}.gguf"), "tag": name, "borrow": True},
            )
            assert response.status_code == 200, response.text
        for name in ("split", "shared", "private", "private"):
            body = {"model": name, "prompt": "a", "max_tokens": 1}
            response = daemon.http.post("/v1/completions", json=body)
            assert response.status_code == 200, response.text
            (uid,) = uids(daemon)
            assert (uid == 0) == (name == "private")
            assert daemon.http.post("/engines/unload", json={"all": True}).status_code == 200
            wait_for(lambda: not daemon.engines(), "its end")
        assert daemon.text().count("an engine runs as the daemon's user") == 1
        assert "cannot be read by another user" in daemon.text()
    modes = {name: stat.S_IMODE((home / f"{name}.gguf").stat().st_mode) for name in FILES}
    assert modes == FILES


FILES = {"shared": 0o644, "private": 0o600}


@pytest.mark.parametrize("sandbox", [True, False])
async def test_trials_have_users_as_well(
    tmp_path: Path, sandbox: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A build is tried as engines run, and passes."""
    isolation = Isolation(LlamaCppSettings(engine_uids=RANGE, sandbox=sandbox), tmp_path)
    subject = Subject(real_server(), frozenset(), child_environment(), isolation)
    assert await try_engine(subject) == Verdict("works")
    assert "runs as the daemon's user" not in caplog.text
    assert isolation.changes_users


@pytest.mark.parametrize("server", ["native", "python"])
@pytest.mark.parametrize("kernel", ["with Landlock", "without"])
async def test_either_engine(
    tmp_path: Path, gguf: Path, server: str, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The native server and the fallback serve, as users of their own, on any kernel."""
    if kernel == "without":
        monkeypatch.setattr(landlock, "abi", lambda: 0)
    backend = LlamaCppBackend(context(tmp_path, gguf, server=server, engine_uids=RANGE))
    before = children()
    async with started(backend, tmp_path / "r.sock", mode=BackendMode.COMPLETION) as run:
        (engine,) = children() - before
        assert FIRST <= engine.uids().real <= LAST
        status, response = await run.post("/v1/completions", prompt="hi", max_tokens=3)
        assert (status, response["usage"]["completion_tokens"]) == (200, 3)


async def test_quantizing(tmp_path: Path, gguf: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The tool writes the one file, which is the daemon's afterwards."""
    backend = LlamaCppBackend(context(tmp_path, gguf, server="native", engine_uids=RANGE))
    target = tmp_path / "small.gguf"
    await backend.quantize(gguf / "tiny.gguf", target, "Q8_0")
    assert target.stat().st_size > 1000
    assert (target.stat().st_uid, stat.S_IMODE(target.stat().st_mode)) == (0, 0o600)
    assert "runs as the daemon's user" not in caplog.text
