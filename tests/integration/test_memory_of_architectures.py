"""What models other than plain decoders were said to need, against what a real llama-server holds.

Cells of `python -m bench architectures`, small enough for every run.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import shapes
from bench.architectures import write
from bench.holding import Case, held, model_files, served
from runnerd.backends.configuration import BackendMode
from runnerd.backends.llamacpp.memory import MemoryEstimator
from runnerd.backends.llamacpp.native_server import NativeServer
from runnerd.backends.llamacpp.server import ServerFinder
from runnerd.backends.llamacpp.settings import parse_settings

pytestmark = [pytest.mark.engine, pytest.mark.long]

SMALL = {
    "vocab_size": 20000, "embedding_length": 128, "block_count": 1, "feed_forward_length": 256,
    "attention.head_count": 2,
}  # fmt: skip


async def estimator(folder: Path) -> tuple[NativeServer, MemoryEstimator]:
    settings = parse_settings({"memory_reserve": 0})
    finder = ServerFinder(settings, folder)
    server = await finder.find()
    assert server is not None
    return server, MemoryEstimator(finder, settings)


@pytest.mark.parametrize("name", ["jina-bert-v2", "nomic-bert"])
async def test_what_an_encoder_takes_for_longer_texts(tmp_path: Path, name: str) -> None:
    """Within 10 % of what is held more: the scores of every token, which nobody asked for."""
    server, memory = await estimator(tmp_path)
    write(tmp_path / "m.gguf", name, shapes.encoder(name) | SMALL)
    files = model_files(tmp_path / "m.gguf")
    assert files.facts.encodes
    cases = [Case(files, BackendMode.EMBEDDING, 1, served(size, 1)) for size in (512, 2048)]
    seen = [await held(server, case) for case in cases]
    told = [
        (await memory.required([files], case.configuration, case.mode)).ram_bytes for case in cases
    ]
    assert (told[1] - told[0]) / (seen[1] - seen[0]) == pytest.approx(1, abs=0.1)


async def test_a_recurrent_models_context_is_free(tmp_path: Path) -> None:
    """It keeps a state for each slot, whatever the context is; the header knows it as the tool
    does.
    """
    _, memory = await estimator(tmp_path)
    numbers = shapes.numbers("mamba") | SMALL | {"ssm.inner_size": 256, "ssm.time_step_rank": 8}
    write(tmp_path / "m.gguf", "mamba", numbers)
    files = model_files(tmp_path / "m.gguf")
    short, long = [
        (await memory.required([files], served(size, 4))).ram_bytes for size in (2048, 32768)
    ]
    assert abs(long - short) < 2**20
    guess = MemoryEstimator(
        ServerFinder(parse_settings({}), tmp_path),
        parse_settings({"memory_reserve": 0, "server": "python"}),
    )
    told = (await guess.required([files], served(32768, 4))).ram_bytes
    assert told == pytest.approx(long, abs=3 * 2**20)
