"""What is said of an engine that ended by itself: whether it served or was still loading.

It is the runner that says so, which has asked the engine whether it is ready.  The engine's log
cannot: llama-server answers that it is ready before it has printed so.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from runnerd.backends.llamacpp import LlamaCppBackend
from runnerd.backends.output import TAIL_BYTES
from tests.support.engines import context, fake_engine
from tests.support.runners import Owner, children, failure_of, living
from tests.support.waiting import until


async def test_an_engine_that_dies_of_what_it_recalls_had_loaded(
    backend: LlamaCppBackend, socket: Path
) -> None:
    """It had said that it is ready, so its model is not at fault; it never counted as ready."""
    before = children()

    def kill() -> None:
        for engine in children() - before:
            engine.kill()

    owner = Owner(on_recall=kill)
    async with living(backend, socket, owner=owner) as runner:
        failure = await failure_of(runner)
    assert "stopped serving the model (killed by SIGKILL" in failure.message
    assert not failure.loading
    assert not owner.is_ready.is_set()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("exit-at-once", "exit status 1"), ("abort-at-once", "killed by SIGABRT")],
)
async def test_an_engine_that_ends_at_once(
    tmp_path: Path, gguf: Path, socket: Path, fault: str, reason: str
) -> None:
    """How it ended, and the first cause among its lines."""
    backend = LlamaCppBackend(context(tmp_path, gguf, path=str(fake_engine(tmp_path, fault))))
    async with living(backend, socket) as runner:
        failure = await failure_of(runner)
    assert (failure.exit_reason, failure.loading) == (reason, True)
    assert "unknown model architecture: 'x'" in failure.message.partition("\n")[0]


async def test_an_engine_that_is_killed_while_it_loads(
    tmp_path: Path, gguf: Path, socket: Path
) -> None:
    """One that listens and never was ready could not load."""
    path = fake_engine(tmp_path, "never-ready")
    backend = LlamaCppBackend(context(tmp_path, gguf, path=str(path)))
    before = children()
    async with living(backend, socket) as runner:
        await until(runner.engine_socket.exists)
        (engine,) = children() - before
        engine.kill()
        failure = await failure_of(runner)
    assert "could not load the model (killed by SIGKILL" in failure.message
    assert failure.loading


async def test_a_log_does_not_say_whether_an_engine_loads(
    tmp_path: Path, gguf: Path, socket: Path
) -> None:
    """One that has served is told so, whatever it has printed since it was ready."""
    backend = LlamaCppBackend(context(tmp_path, gguf, path=str(fake_engine(tmp_path, "flood"))))
    before = children()
    owner = Owner()
    async with living(backend, socket, owner=owner) as runner:
        await until(owner.is_ready.is_set)
        (engine,) = children() - before
        await until(lambda: (tmp_path / "log" / "r.log").stat().st_size > 2 * TAIL_BYTES)
        engine.kill()
        failure = await failure_of(runner)
    assert "stopped serving the model" in failure.message
    assert not failure.loading
