"""runnerd.backends.llamacpp.memory: from the tool's output, and from the header alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.interface import EngineFailure, RequiredMemory
from runnerd.backends.llamacpp.footprint import (
    Workload,
    cache_bytes,
    output_bytes,
    vocabulary_bytes,
    whole_text_tokens,
    working_bytes,
)
from runnerd.backends.llamacpp.memory import MemoryEstimator, estimate
from runnerd.backends.llamacpp.server import ServerFinder
from runnerd.backends.llamacpp.settings import parse_settings
from runnerd.backends.model_files import ModelFacts, ModelFiles

COVERS = ("runnerd.backends.llamacpp.footprint",)

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
    # Its script writes down what it is asked.
    settings = parse_settings(
        {"path": str(tool(folder, body)), "memory_reserve": 100, "sandbox": False}
    )
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
        ram_bytes=(100 + 58) * MIB, gpu_bytes=(("gpu0", 1232 * MIB), ("gpu1", 8 * MIB))
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
        f"--model {files.weights} --ctx-size 16384 --parallel 4 --fit-print on",
        f"--model {files.weights} --ctx-size 2048 --parallel 4 --cache-type-k q8_0 --fit-print on",
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
    assert found.gpu_bytes == (("gpu0", 10 * MIB + 1000), ("gpu1", 10 * MIB))


async def test_where_a_projector_goes(tmp_path: Path) -> None:
    """To RAM where the engine is told so, else to the first GPU of the model's placement."""
    memory, files = estimator(tmp_path, "echo 'CUDA0 1 1 1'; echo 'CUDA1 1 1 1'")
    files.weights.write_bytes(bytes(1000))
    sees = replace(files, mmproj=files.weights)
    server = tmp_path / "llama-server"
    devices = "Available devices:\n  CUDA0: a\n  CUDA1: b"
    server.write_text(f"#!/bin/sh\necho '--list-devices\n{devices}'\n")
    gpus = dict(gpu0=5 * MIB, gpu1=5 * MIB)
    for said, where in (
        ({"runtime-flags": ["--no-mmproj-offload"]}, None),
        ({"runtime-flags": ["--no-mmproj-offload", "--mmproj-offload"]}, "gpu0"),
        ({"placement": {"devices": [1, 0]}}, "gpu1"),
    ):
        configuration = BackendConfiguration.model_validate(said)
        found = await memory.required([sees], configuration)
        expected = gpus if where is None else gpus | {where: gpus[where] + 1000}
        assert dict(found.gpu_bytes) == expected
        assert found.ram_bytes == (100 + 1) * MIB + (1000 if where is None else 0)


async def test_only_the_models_projector_is_loaded(tmp_path: Path) -> None:
    """A draft model that has one is loaded without it."""
    memory, files = estimator(tmp_path, "echo 'Host 1 1 1'")
    sees = replace(files, mmproj=files.weights)
    alone = await memory.required([files, files], NONE)
    assert await memory.required([files, sees], NONE) == alone
    assert (await memory.required([sees, files], NONE)).ram_bytes == alone.ram_bytes + 1000


async def test_a_projector_that_cannot_be_read(tmp_path: Path) -> None:
    """That is the failure's message."""
    memory, files = estimator(tmp_path, "echo 'Host 1 1 1'")
    with pytest.raises(EngineFailure, match="projector's file cannot be read: No such file"):
        await memory.required([replace(files, mmproj=tmp_path / "none")], NONE)


async def test_the_tool_is_asked_for_the_draft_model_as_it_is_served(tmp_path: Path) -> None:
    """With the model's context, though it was trained for less, and a cache of its own type."""
    memory, files = estimator(tmp_path, "echo 'Host 1 1 1'")
    (tmp_path / "d.gguf").write_bytes(b"x")
    draft = replace(files, weights=tmp_path / "d.gguf", facts=ModelFacts(context_length=128))
    flags = {"runtime-flags": ["-ctk", "q8_0", "-ctvd", "q4_0"], "context-size": 2048}
    await memory.required([files, draft], BackendConfiguration.model_validate(flags))
    asked = (tmp_path / "asked").read_text().splitlines()
    common = "--ctx-size 8192 --parallel 4"
    assert asked == [
        f"--model {files.weights} {common} --cache-type-k q8_0 --fit-print on",
        f"--model {draft.weights} {common} --cache-type-v q4_0 --fit-print on",
    ]


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
    expected = estimate(files, Workload(context=4 * 4096, slots=4))
    assert found.ram_bytes == expected.ram_bytes + 100 * MIB


async def test_what_the_tool_does_not_see(tmp_path: Path) -> None:
    """Rearranged weights are counted by their file; reserved buffers as far as they are touched;
    the tokenizer on top.
    """
    memory, files = estimator(tmp_path, "echo 'Host 20 10 300'")
    facts = ModelFacts(
        context_length=512, embedding_length=64, head_count=4, key_length=16,
        feed_forward_length=128, vocabulary_size=1000, merges=500, cache_width=256,
    )  # fmt: skip
    model = ModelFiles(files.weights, 70 * MIB, facts=facts)
    found = await memory.required([model], NONE)
    load = Workload(context=4 * 512, slots=4)
    rest = working_bytes(facts, load) + output_bytes(facts, load) + vocabulary_bytes(facts)
    assert found.ram_bytes == (100 + 70 + 10 + 1) * MIB + rest
    assert rest < 10 * MIB


async def test_buffers_on_a_gpu_count_whole(tmp_path: Path) -> None:
    """There everything that is reserved is taken, and so is the host's part beside it."""
    memory, files = estimator(tmp_path, "echo 'CUDA0 10 1 300'; echo 'Host 1 1 50'")
    found = await memory.required([files], NONE)
    assert found == RequiredMemory((100 + 52 + 1) * MIB, (("gpu0", 313 * MIB),))


async def test_an_encoder_sees_a_text_whole(tmp_path: Path) -> None:
    """Its physical batch is its context, and the tool is told so."""
    memory, files = estimator(tmp_path, "echo 'Host 1 1 1'")
    encoder = replace(files, facts=ModelFacts(context_length=4096, encodes=True))
    await memory.required([encoder], NONE, BackendMode.EMBEDDING)
    assert "--batch-size 4096 --ubatch-size 4096" in (tmp_path / "asked").read_text()


ENCODER = ModelFacts(
    architecture="jina-bert-v2", context_length=8192, vocabulary_size=30528, embedding_length=512,
    feed_forward_length=2048, head_count=8, key_length=64, encodes=True,
)  # fmt: skip


async def test_an_encoder_holds_the_scores_of_its_whole_batch(tmp_path: Path) -> None:
    """llama.cpp makes room for the vocabulary of each token, and clears it: it is all in use."""
    memory, files = estimator(tmp_path, "echo 'Host 78 0 368'")
    encoder = ModelFiles(files.weights, 78 * MIB, facts=ENCODER)
    wide = BackendConfiguration.model_validate({"context-size": 8192})
    found = await memory.required([encoder], wide, BackendMode.EMBEDDING)
    seen = 1427 * MIB  # by the engine, with a text of 8192 tokens
    assert 0.97 * seen < found.ram_bytes - 100 * MIB < 1.05 * seen


def test_a_decoder_that_embeds_holds_them_too() -> None:
    """For a batch, before and after they are handed over."""
    facts = ModelFacts(vocabulary_size=1000, embedding_length=10)
    embeds, chats = Workload(4096, 1, embeds=True), Workload(4096, 1)
    assert output_bytes(facts, embeds) == 4 * 512 * 1010
    assert working_bytes(facts, embeds) - working_bytes(facts, chats) == 4 * 512 * 1000


@pytest.mark.parametrize(
    ("vocabulary", "context", "expected"),
    [(30528, 8192, 2048), (30528, 700, 700), (250002, 8192, 512), (250002, 300, 300), (9, 0, 0)],
)
def test_how_long_a_text_may_be(vocabulary: int, context: int, expected: int) -> None:
    """As long as its batch is worth the memory, and 512 tokens in any case."""
    facts = replace(ENCODER, vocabulary_size=vocabulary)
    assert whole_text_tokens(facts, context, 512 * MIB) == expected


def test_slots_with_a_context_each() -> None:
    """They have caches and windows of their own, and see no further."""
    facts = ModelFacts(cache_width=100, window_width=10, window=1000, state_width=7)
    parts = Workload(8192, 4, unified=False)
    assert cache_bytes(facts, parts) == 2 * 4 * (100 * 2048 + 10 * 1536) + 4 * 7 * 4
    shared = Workload(8192, 4)
    assert working_bytes(facts, shared) - working_bytes(facts, parts) == 512 * 2 * (
        8192 - 2048 + 4608 - 1536
    )


def test_nothing_is_seen_where_there_is_no_cache() -> None:
    """A recurrent model's evaluation does not grow with the context."""
    facts = ModelFacts(inner_length=4096, state_width=100)
    assert working_bytes(facts, Workload(2**20, 1)) == working_bytes(facts, Workload(2048, 1))


def test_an_estimate_of_nothing_stated() -> None:
    """A header that says nothing still gives the weights."""
    assert estimate(ModelFiles(Path("w"), 7), Workload(0, 0)).ram_bytes == 7


WIDE = ModelFacts(cache_width=1024, window_width=512, window=1000)


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        (Workload(8192, 1), 2 * (1024 * 8192 + 512 * 1536)),
        (Workload(8192, 4), 2 * (1024 * 8192 + 512 * 4608)),
        (Workload(8192, 16), 2 * (1024 * 8192 + 512 * 8192)),
        (Workload(8192, 1, whole_windows=True), 2 * (1024 * 8192 + 512 * 8192)),
        (Workload(100, 1), 2 * (1024 * 256 + 512 * 256)),
        (Workload(8192, 1, key_type="q8_0"), int((2 + 34 / 32) / 2 * (1024 * 8192 + 512 * 1536))),
    ],
)
def test_the_cache(load: Workload, expected: int) -> None:
    """Layers with a window keep one for each slot and a batch; the types of K and V count."""
    assert cache_bytes(WIDE, load) == expected
