"""LlamaCppBackend with real engines: llama-server, llama_cpp.server, and a fake with faults."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.engine_http import wait_ready
from runnerd.backends.interface import EngineFailure
from runnerd.backends.limits import data_limit
from runnerd.backends.llamacpp import LlamaCppBackend
from runnerd.backends.llamacpp.fallback import Fallback
from runnerd.backends.llamacpp.server import ServerFinder
from runnerd.errors import BackendFailure, InvalidConfiguration, ModelNotFound, NotSupported
from runnerd.tasks import spawn
from tests.support.engines import context, fake_engine
from tests.support.runners import Owner, children, failure_of, living
from tests.support.waiting import LIMIT, until, wait_for

NONE = BackendConfiguration.model_validate({})
HELLO: dict[str, object] = {"messages": [{"role": "user", "content": "hi"}]}
COMPLETION, EMBEDDING, RERANKING = BackendMode


class Run:
    """One run() under way, and a client on its public socket."""

    def __init__(self, task: asyncio.Task[None], socket: Path, http: aiohttp.ClientSession) -> None:
        self.task = task
        self.socket = socket
        self.http = http

    async def post(self, path: str, **body: object) -> tuple[int, dict[str, Any]]:
        async with self.http.post(path, json=body) as response:
            return response.status, json.loads(await response.text())

    async def stop(self) -> None:
        """Cancel the run; the cancellation must arrive."""
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task


@asynccontextmanager
async def started(
    backend: LlamaCppBackend,
    socket: Path,
    model: str = "tiny",
    mode: BackendMode = COMPLETION,
    config: BackendConfiguration = NONE,
    *,
    ready: bool = True,
) -> AsyncIterator[Run]:
    """Run a model until the block ends; by then no process, task or socket may be left."""
    before = children()
    run = backend.run(socket, model, f"ai/{model}", mode, config)
    task = asyncio.get_running_loop().create_task(run)
    http = aiohttp.ClientSession("http://x", connector=aiohttp.UnixConnector(str(socket)))
    try:
        if ready:
            await settled(task, backend.engine_socket(socket))
        yield Run(task, socket, http)
    finally:
        await http.close()
        task.cancel()
        await asyncio.wait([task])
        assert children() == before
        assert not socket.exists()
        assert not backend.engine_socket(socket).exists()


async def settled(task: asyncio.Task[None], engine_socket: Path) -> None:
    """Wait until the engine is ready; raise what ended the run instead."""
    probe = asyncio.get_running_loop().create_task(wait_ready(engine_socket))
    async with asyncio.timeout(LIMIT):
        await asyncio.wait([task, probe], return_when=asyncio.FIRST_COMPLETED)
    probe.cancel()
    if task.done():
        task.result()


@pytest.fixture
def native(tmp_path: Path, gguf: Path) -> LlamaCppBackend:
    return LlamaCppBackend(context(tmp_path, gguf, server="native"))


@pytest.fixture
def python(tmp_path: Path, gguf: Path) -> LlamaCppBackend:
    return LlamaCppBackend(context(tmp_path, gguf, server="python"))


# what both engines do


async def test_chat(backend: LlamaCppBackend, socket: Path) -> None:
    """A chat answers, under the model's public names and under none."""
    async with started(backend, socket) as run:
        for names in ({"model": "ai/tiny"}, {"model": "tiny"}, {}):
            status, response = await run.post(
                "/v1/chat/completions", max_tokens=5, **HELLO, **names
            )
            assert status == 200
            assert response["choices"][0]["message"]["content"]
            assert response["usage"]["completion_tokens"] == 5
            assert "/" not in response["model"].removeprefix("ai/")  # no path
        status, response = await run.post("/v1/completions", prompt="hi", max_tokens=3)
        assert (status, response["usage"]["completion_tokens"]) == (200, 3)


async def test_stream(backend: LlamaCppBackend, socket: Path) -> None:
    """A stream comes in chunks and ends with [DONE]."""
    async with started(backend, socket) as run:
        body = HELLO | {"stream": True, "max_tokens": 5}
        async with run.http.post("/v1/chat/completions", json=body) as response:
            assert response.content_type == "text/event-stream"
            events = [
                line[6:] for line in (await response.text()).splitlines() if line[:6] == "data: "
            ]
    assert events[-1] == "[DONE]"
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events[:-1]]
    assert "".join(delta.get("content") or "" for delta in deltas)


async def test_another_model_is_misdirected(backend: LlamaCppBackend, socket: Path) -> None:
    """421 on the runner's socket, whichever engine is behind it."""
    async with started(backend, socket) as run:
        status, response = await run.post("/v1/chat/completions", model="other", **HELLO)
    assert (status, response["error"]["code"]) == (421, "model_mismatch")


async def test_embeddings(backend: LlamaCppBackend, socket: Path) -> None:
    """Embeddings are unit vectors from either engine."""
    async with started(backend, socket, "embed", EMBEDDING) as run:
        status, response = await run.post("/v1/embeddings", input=["a", "b c"])
    assert status == 200
    vectors = [entry["embedding"] for entry in response["data"]]
    assert len(vectors) == 2
    for vector in vectors:
        assert sum(value * value for value in vector) == pytest.approx(1, abs=1e-3)


async def test_health(backend: LlamaCppBackend, socket: Path) -> None:
    """The public socket says 200 once the engine is ready."""
    async with started(backend, socket) as run:
        async with run.http.get("/health") as response:
            assert response.status == 200


async def test_cancelling_ends_everything(backend: LlamaCppBackend, socket: Path) -> None:
    """Cancelled in mid-stream or while loading, run() ends; nothing is left (see `started`)."""
    async with started(backend, socket) as run:
        body = HELLO | {"stream": True, "max_tokens": 100_000}
        async with run.http.post("/v1/chat/completions", json=body) as response:
            await response.content.readany()
            await run.stop()
    async with started(backend, socket, ready=False) as run:
        await until(socket.exists)
        await run.stop()


async def test_a_second_cancellation_changes_nothing(
    backend: LlamaCppBackend, socket: Path
) -> None:
    """Impatience during the clean-up leaks nothing."""
    async with started(backend, socket) as run:
        for _ in range(5):
            run.task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await run.task


async def test_a_killed_engine_is_a_failure(backend: LlamaCppBackend, socket: Path) -> None:
    """kill -9 of the engine ends a ready runner with the signal's name and its last lines."""
    before = children()
    owner = Owner()
    async with living(backend, socket, owner=owner) as runner:
        await until(owner.is_ready.is_set)
        (engine,) = children() - before
        engine.kill()
        failure = await failure_of(runner)
    assert failure.exit_reason.startswith("killed by SIGKILL")
    assert "stopped serving the model (killed by SIGKILL" in failure.message
    assert not failure.loading


async def test_a_corrupt_model(
    backend: LlamaCppBackend, socket: Path, gguf: Path, tmp_path: Path
) -> None:
    """A truncated GGUF fails with the cause in the message, and no path."""
    corrupt = tmp_path / "models"
    corrupt.mkdir()
    (corrupt / "bad.gguf").write_bytes((gguf / "tiny.gguf").read_bytes()[:3000])
    kind = "native" if backend.streams_to_cancel else "python"
    backend = LlamaCppBackend(context(tmp_path, corrupt, server=kind))
    async with living(backend, socket, "bad") as runner:
        failure = await failure_of(runner)
    assert failure.loading
    assert failure.exit_reason == "exit status 1"
    assert "could not load the model (exit status 1): gguf_init" in failure.message
    assert "failed to load model" in failure.last_words
    assert str(tmp_path) not in failure.message
    assert "gguf_init" in (tmp_path / "log" / "r.log").read_text()


async def test_leftovers_are_no_obstacle(backend: LlamaCppBackend, socket: Path) -> None:
    """Stale sockets of a run that was killed are replaced."""
    import socket as sockets

    for path in (socket, backend.engine_socket(socket)):
        path.parent.mkdir(exist_ok=True)
        with sockets.socket(sockets.AF_UNIX) as stale:
            stale.bind(str(path))
    async with started(backend, socket) as run:
        status, _ = await run.post("/v1/completions", prompt="x", max_tokens=1)
    assert status == 200


async def test_an_unknown_model(backend: LlamaCppBackend, socket: Path) -> None:
    """The resolver's word is passed on."""
    with pytest.raises(ModelNotFound):
        await backend.run(socket, "nope", "nope", COMPLETION, NONE)


async def test_configuration_reaches_the_engine(backend: LlamaCppBackend, socket: Path) -> None:
    """The context size holds: a longer prompt is refused."""
    config = BackendConfiguration.model_validate(
        {"context-size": 256, "runtime-flags": ["--threads", "1"]}
    )
    async with started(backend, socket, config=config) as run:
        status, response = await run.post("/v1/completions", prompt="abc " * 300, max_tokens=1)
    assert status == 400
    assert "256" in json.dumps(response)


async def test_required_memory(backend: LlamaCppBackend) -> None:
    """Some RAM and, on a machine without a GPU, no VRAM."""
    needed = await backend.required_memory("tiny", NONE)
    assert 2**20 < needed.ram_bytes < 2**30


# the native engine only


async def test_rerank(native: LlamaCppBackend, socket: Path) -> None:
    """A reranking model ranks."""
    async with started(native, socket, "rerank", RERANKING) as run:
        status, response = await run.post("/v1/rerank", query="a", documents=["b", "c"])
    assert status == 200
    assert len(response["results"]) == 2


async def test_speculative_decoding(native: LlamaCppBackend, socket: Path) -> None:
    """A draft model is really used."""
    config = BackendConfiguration.model_validate(
        {"speculative": {"draft_model": "tiny", "num_tokens": 4}}
    )
    async with started(native, socket, config=config) as run:
        _, response = await run.post("/v1/chat/completions", **HELLO, max_tokens=30, temperature=0)
    assert response["timings"]["draft_n"] > 0


async def test_native_status(native: LlamaCppBackend) -> None:
    """Installed, it says so with its version, occupies something and installs at once."""
    async with aiohttp.ClientSession() as http:
        await native.install(http)
    assert native.status().startswith("Running: llama.cpp ")
    assert await native.disk_usage() > 2**20
    assert native.streams_to_cancel
    assert native.unsupported_reason("rerank", RERANKING) is None


async def test_the_engine_lives_in_the_sandbox(native: LlamaCppBackend, socket: Path) -> None:
    """The real server runs under the filter, without privileges or our environment."""
    before = children()
    async with started(native, socket):
        (engine,) = children() - before
        status = Path(f"/proc/{engine.pid}/status").read_text()
        environment = engine.environ()
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    assert environment["GGML_NO_BACKTRACE"] == "1"
    assert not any(name.startswith(("LLAMA", "RUNNERD", "PYTEST", "HF_")) for name in environment)


# the fallback only


async def test_what_the_fallback_lacks(python: LlamaCppBackend, socket: Path) -> None:
    """501 with the remedy, on the socket and from run() itself."""
    assert not python.streams_to_cancel
    assert python.unsupported_reason("chat/completions", COMPLETION) is None
    for operation in ("responses", "messages", "tokenize", "embeddings", "audio/transcriptions"):
        reason = python.unsupported_reason(operation, COMPLETION)
        assert reason is not None
        assert "runnerd install llama.cpp" in reason
    with pytest.raises(NotSupported, match="runnerd install"):
        await python.run(socket, "rerank", "rerank", RERANKING, NONE)
    for fields in (
        {"runtime-flags": ["--mirostat", "1"]},
        {"speculative": {"draft_model": "tiny"}},
    ):
        config = BackendConfiguration.model_validate(fields)
        with pytest.raises(NotSupported, match="native server"):
            await python.run(socket, "tiny", "tiny", COMPLETION, config)
    async with started(python, socket) as run:
        status, response = await run.post("/v1/responses", input="x")
    assert (status, response["error"]["code"]) == (501, "not_supported")


async def test_the_fallback_stops_for_a_client_that_left(
    python: LlamaCppBackend, socket: Path
) -> None:
    """It takes one request at a time; an abandoned one, streamed or not, makes room at once."""

    async def generate(run: Run, stream: bool) -> None:
        body = HELLO | {"max_tokens": 100_000, "stream": stream, "seed": 1}
        while True:  # the context ends a generation: ask again
            async with run.http.post("/v1/chat/completions", json=body) as response:
                await response.read()

    async with started(python, socket) as run:
        for stream in (False, True):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await generate(run, stream)
            async with asyncio.timeout(LIMIT):
                status, _ = await run.post("/v1/completions", prompt="x", max_tokens=1)
            assert status == 200


async def test_the_fallback_uses_the_bundles_template(
    python: LlamaCppBackend, socket: Path, gguf: Path, tmp_path: Path
) -> None:
    """A chat template that came with the model is the one that is used."""
    from dataclasses import replace

    from tests.support.engines import Folder

    template = tmp_path / "t.jinja"
    template.write_text("{% for message in messages %}{{ message['content'] * 10 }}{% endfor %}")

    class WithTemplate(Folder):
        def resolve(self, model: str) -> Any:
            return replace(super().resolve(model), chat_template=template)

    backend = LlamaCppBackend(
        replace(context(tmp_path, gguf, server="python"), resolver=WithTemplate(gguf))
    )
    async with started(backend, socket) as run:
        _, response = await run.post("/v1/chat/completions", **HELLO, max_tokens=1)
    assert response["usage"]["prompt_tokens"] in (20, 21)  # "hi" ten times, byte by byte


# faults, by the fake


async def test_an_engine_that_never_gets_ready(tmp_path: Path, gguf: Path, socket: Path) -> None:
    """It stays at 503 until it is cancelled; nothing is restarted."""
    path = fake_engine(tmp_path, "never-ready")
    backend = LlamaCppBackend(context(tmp_path, gguf, path=str(path)))
    async with started(backend, socket, ready=False) as run:
        await until(backend.engine_socket(socket).exists)
        async with run.http.get("/health") as response:
            assert response.status == 503
        await run.stop()


@pytest.mark.parametrize(
    "fault", ["ignore-sigterm", "grandchild", "close-output", "flood", "never-listens"]
)
async def test_engines_that_are_hard_to_stop(
    tmp_path: Path, gguf: Path, socket: Path, fault: str
) -> None:
    """Whatever it does, a cancelled run ends, with its descendants gone (see `started`)."""
    path = fake_engine(tmp_path, fault)
    backend = LlamaCppBackend(context(tmp_path, gguf, path=str(path), stop_grace=0.2))
    async with started(backend, socket, ready=fault != "never-listens") as run:
        await run.stop()


async def test_a_descendant_that_holds_the_pipe(tmp_path: Path, gguf: Path, socket: Path) -> None:
    """One that fled into its own session cannot hold the end up."""
    path = fake_engine(tmp_path, "escaped-child")
    backend = LlamaCppBackend(context(tmp_path, gguf, path=str(path)))
    async with started(backend, socket) as run:
        printed = (tmp_path / "log" / "r.log").read_text()
        escaped = psutil.Process(int(printed.partition("child ")[2].partition(".")[0]))
        await run.stop()
        escaped.kill()
        psutil.wait_procs([escaped], timeout=5)


async def test_an_engine_that_dies_in_mid_stream(tmp_path: Path, gguf: Path, socket: Path) -> None:
    """The client's stream breaks, it does not end as if complete; run() fails."""
    path = fake_engine(tmp_path, "die-mid-stream")
    backend = LlamaCppBackend(context(tmp_path, gguf, path=str(path)))
    async with started(backend, socket) as run:
        with pytest.raises(aiohttp.ClientError):
            async with run.http.post("/v1/chat/completions", json={"stream": True}) as response:
                await response.read()
        with pytest.raises(EngineFailure, match="stopped serving"):
            await run.task


async def test_not_installed(
    tmp_path: Path, gguf: Path, socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no engine at all, everything says so and what to do."""
    monkeypatch.setattr(ServerFinder, "_candidates", lambda self, name=None: iter(()))
    backend = LlamaCppBackend(context(tmp_path, gguf, server="native"))
    assert backend.status() == "Not Installed: install the native server: runnerd install llama.cpp"
    with pytest.raises(BackendFailure, match="not installed"):
        await backend.run(socket, "tiny", "tiny", COMPLETION, NONE)
    assert await backend.disk_usage() == 0


@pytest.mark.parametrize("server", ["python", "auto"])
async def test_no_engine_and_no_fallback(
    tmp_path: Path, gguf: Path, socket: Path, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    """The extra that brings the fallback is named, where an owner lets it be used."""
    monkeypatch.setattr(ServerFinder, "_candidates", lambda self, name=None: iter(()))
    monkeypatch.setattr(Fallback, "available", False)
    backend = LlamaCppBackend(context(tmp_path, gguf, server=server))
    assert backend.status().startswith("Not Installed: ")
    assert "pip install 'runnerd[python-engine]'" in backend.status()
    with pytest.raises(BackendFailure, match=r"runnerd\[python-engine\]"):
        await backend.run(socket, "tiny", "tiny", COMPLETION, NONE)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"runtime-flags": ["--jinja", "--no-mmap"]}, None),
        ({"runtime-flags": ["--log-file", "x"]}, "--log-file"),
        ({"runtime-flags": ["--device", "CUDA7"]}, "no device CUDA7 here; there is: CPU"),
        ({"runtime-flags": ["--device", "none", "-ot", "exps=CPU"]}, None),
        ({"runtime-flags": ["-ot", "exps=CUDA0"]}, "no device CUDA0 here"),
        ({"placement": {"devices": [3]}}, "placement names GPU 3"),
        ({"speculative": {"draft_model": "tiny"}}, None),
        ({"speculative": {"draft_model": "absent"}}, "draft_model: no model absent; pull it"),
    ],
)
async def test_check_configuration(
    native: LlamaCppBackend, fields: dict[str, Any], problem: str | None
) -> None:
    """Flags are held against the table and the engine, devices and models against what is here."""
    configuration = BackendConfiguration.model_validate(fields)
    if problem is None:
        await native.check_configuration("tiny", configuration)
        return
    with pytest.raises(InvalidConfiguration, match=problem):
        await native.check_configuration("tiny", configuration)


async def test_a_model_is_read_instead_of_mapped(native: LlamaCppBackend, socket: Path) -> None:
    """With the flag that users know, though this llama.cpp has removed it."""
    flags = BackendConfiguration.model_validate({"runtime-flags": ["--no-mmap"]})
    before = children()
    async with started(native, socket, config=flags) as run:
        (engine,) = children() - before
        maps = Path(f"/proc/{engine.pid}/maps").read_text()
        assert (await run.post("/v1/chat/completions", **HELLO, max_tokens=1))[0] == 200
    assert "tiny.gguf" not in maps


async def test_what_is_unwise_is_told(native: LlamaCppBackend) -> None:
    """More context than was trained, unless flags stretch it; the least that it takes."""

    def configured(context: int, *flags: str) -> BackendConfiguration:
        fields = {"context-size": context, "runtime-flags": list(flags)}
        return BackendConfiguration.model_validate(fields)

    assert native.doubt("tiny", configured(512)) is None
    assert "512 tokens that the model was trained for" in str(native.doubt("tiny", configured(513)))
    assert native.doubt("tiny", configured(2048, "--rope-scaling", "yarn")) is None


async def test_an_engine_has_a_limit(native: LlamaCppBackend, socket: Path) -> None:
    """What it asks for beyond fails, in its allocator; it says so, and nobody else is hurt."""
    before = children()
    task = spawn(
        native.run(socket, "tiny", "tiny", COMPLETION, NONE, ram_limit=512 * 2**20), name="run"
    )
    await wait_ready(native.engine_socket(socket))
    (engine,) = children() - before
    limits = Path(f"/proc/{engine.pid}/limits").read_text()
    assert f"Max data size             {data_limit(512 * 2**20)} " in limits
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    huge = BackendConfiguration.model_validate({"context-size": 16 * 2**20})
    with pytest.raises(EngineFailure) as caught:
        await native.run(socket, "tiny", "tiny", COMPLETION, huge, ram_limit=2**20)
    assert caught.value.out_of_memory


PARENT = """
import asyncio, sys, uvloop
from pathlib import Path
from runnerd.backends.engine_http import wait_ready
from runnerd.backends.interface import BackendConfiguration, BackendMode
from runnerd.backends.llamacpp import LlamaCppBackend
from tests.support.engines import context
async def main(kind, folder, models):
    backend = LlamaCppBackend(context(folder, models, server=kind))
    socket = folder / "r.sock"
    config = BackendConfiguration.model_validate({})
    run = asyncio.ensure_future(backend.run(socket, "tiny", "tiny", BackendMode.COMPLETION, config))
    ready = asyncio.ensure_future(wait_ready(backend.engine_socket(socket)))
    await asyncio.wait({run, ready}, return_when=asyncio.FIRST_COMPLETED)
    if not run.done():
        print("ready", flush=True)
    await run
uvloop.run(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
"""


@pytest.mark.parametrize("kind", ["native", "python"])
def test_kill_of_the_daemon_leaves_no_engine(tmp_path: Path, gguf: Path, kind: str) -> None:
    """kill -9 of the parent takes the engine with it."""
    argv = [sys.executable, "-c", PARENT, kind, str(tmp_path), str(gguf)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=root) as parent:
        try:
            assert parent.stdout is not None
            assert parent.stdout.readline() == b"ready\n"
            (engine,) = psutil.Process(parent.pid).children()
        finally:
            parent.kill()  # or it would be waited for
    wait_for(
        lambda: not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE,
        "the engine to die with its parent",
    )
    for name in ("r.sock", "r/e.sock"):
        (tmp_path / name).unlink(missing_ok=True)
