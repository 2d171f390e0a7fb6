"""runnerd.backends.llamacpp.memory: from the tool's output, and from the header alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from runnerd.backends.interface import (
    BackendConfiguration,
    EngineFailure,
    ModelFacts,
    ModelFiles,
    RequiredMemory,
)
from runnerd.backends.llamacpp.memory import MemoryEstimator, estimate
from runnerd.backends.llamacpp.server import ServerFinder
from runnerd.backends.llamacpp.settings import parse_settings

MIB = 2**20
NONE = BackendConfiguration.model_validate({})


def tool(folder: Path, body: str) -> Path:
    """Make a llama-server with an estimator beside it that runs `body`; return the server."""
    server = folder / "llama-server"
    server.write_text("#!/bin/sh\necho 'version: 1 (abc)'\n")
    estimator = folder / "llama-fit-params"
    estimator.write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\n{body}\n')
    for script in (server, estimator):
        script.chmod(0o755)
    return server


def estimator(folder: Path, body: str) -> tuple[MemoryEstimator, ModelFiles]:
    settings = parse_settings({"path": str(tool(folder, body)), "memory_reserve": 100})
    weights = folder / "w.gguf"
    weights.write_bytes(b"x" * 1000)
    facts = ModelFacts(context_length=4096)
    finder = ServerFinder(settings, folder)
    return MemoryEstimator(finder, settings), ModelFiles(weights, 1000, facts=facts)


async def test_the_tools_account(tmp_path: Path) -> None:
    """Each device has its own sum, the host is RAM, and what a process needs besides is added."""
    memory, files = estimator(
        tmp_path, "echo '0.0.0.1 I note' >&2; echo 'CUDA0 1000 200 30'; echo 'CUDA1 1 2 3';"
        " echo 'Host 50 0 7'"
    )  # fmt: skip
    found = await memory.required([files], NONE)
    assert found == RequiredMemory(
        ram_bytes=(100 + 58) * MIB, gpu_bytes=(("gpu0", 1231 * MIB), ("gpu1", 7 * MIB))
    )


async def test_the_same_question_is_asked_once(tmp_path: Path) -> None:
    """Until the file or the configuration changes; flags that do not count are no change."""
    memory, files = estimator(tmp_path, "echo 'Host 1 1 1'")
    flags = {"runtime-flags": ["-ctk", "q8_0", "--temp", "1", "--jinja"], "context-size": 512}
    configured = BackendConfiguration.model_validate(flags)
    for configuration in (NONE, NONE, configured, configured):
        await memory.required([files], configuration)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == [
        f"--model {files.weights} --ctx-size 4096 --parallel 4 --fit-print on",
        f"--model {files.weights} --ctx-size 512 --parallel 4 --cache-type-k q8_0 --fit-print on",
    ]


async def test_the_slots_count(tmp_path: Path) -> None:
    """A model with a sliding window keeps one for each slot, so the tool is told how many."""
    memory, files = estimator(tmp_path, "echo 'Host 1 1 1'")
    slots = BackendConfiguration.model_validate({"runtime-flags": ["-np", "9"]})
    await memory.required([files], slots)
    assert "--parallel 9 " in (tmp_path / "asked").read_text()


async def test_a_draft_model_counts(tmp_path: Path) -> None:
    """Both models are in memory; the reserve is there once."""
    memory, files = estimator(tmp_path, "echo 'Host 1 1 1'")
    assert (await memory.required([files, files], NONE)).ram_bytes == (100 + 4 + 4) * MIB


async def test_a_projector_counts(tmp_path: Path) -> None:
    """Its size goes where the model goes: as a whole, to the first of several GPUs."""
    memory, files = estimator(tmp_path, "echo 'CUDA1 1 1 1'; echo 'CUDA0 1 1 1'")
    projected = ModelFiles(files.weights, 1000, mmproj=files.weights, facts=files.facts)
    found = await memory.required([projected, files], NONE)
    assert found.gpu_bytes == (("gpu0", 8 * MIB + 1000), ("gpu1", 8 * MIB))


async def test_a_model_that_cannot_be_read(tmp_path: Path) -> None:
    """The tool's cause is the failure's message."""
    body = "echo \"llama_model_load: error loading model: unknown model architecture: 'x'\"; exit 1"
    memory, files = estimator(tmp_path, body)
    with pytest.raises(EngineFailure, match="unknown model architecture") as caught:
        await memory.required([files], NONE)
    assert caught.value.exit_reason == "exit status 1"
    files.weights.unlink()
    with pytest.raises(EngineFailure, match="No such file"):
        await memory.required([files], NONE)


@pytest.mark.parametrize("body", ["exit 0", "exit 3", "echo 'CUDA error: out of memory'; exit 1"])
async def test_a_tool_that_cannot_tell(tmp_path: Path, body: str) -> None:
    """Then the header's estimate serves."""
    memory, files = estimator(tmp_path, body)
    found = await memory.required([files], NONE)
    assert found.ram_bytes == estimate(files, 4096).ram_bytes + 100 * MIB


def test_the_headers_estimate() -> None:
    """Weights, an f16 cache of K and V for each block and token, and the buffers."""
    facts = ModelFacts(
        block_count=32, embedding_length=4096, head_count=32, head_count_kv=8,
        context_length=8192, vocabulary_size=128000,
    )  # fmt: skip
    files = ModelFiles(Path("w"), 5 * 10**9, facts=facts)
    cache = 2 * 32 * 8192 * 8 * 128 * 2
    buffers = 512 * 4 * (128000 + 8 * 4096)
    assert estimate(files, 8192) == RequiredMemory(5 * 10**9 + cache + buffers)
    assert estimate(files, 0) == estimate(files, 8192)


def test_an_estimate_of_nothing_stated() -> None:
    """A header that says nothing still gives the weights."""
    assert estimate(ModelFiles(Path("w"), 7), 0).ram_bytes == 7
