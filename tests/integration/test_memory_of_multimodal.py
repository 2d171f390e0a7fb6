"""What a projector was said to need, against what a real llama-server holds more with one.

One cell of `python -m bench memory`, small enough for every run.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.holding import Case, held, model_files, served
from bench.projectors import Projector, write_projector
from runnerd.backends.configuration import BackendMode
from runnerd.backends.llamacpp.memory import MemoryEstimator
from runnerd.backends.llamacpp.server import ServerFinder
from runnerd.backends.llamacpp.settings import parse_settings
from runnerd.models import tiny

pytestmark = [pytest.mark.engine, pytest.mark.long]

EYES = Projector("SigLIP of one block", "gemma3", 512, 1, 8, 2048, 896, 14, 4)
EARS = Projector("Whisper of one block", "voxtral", 1280, 1, 20, 5120, merge=4)


@pytest.mark.parametrize("shape", [EYES, EARS])
async def test_what_a_sense_takes(tmp_path: Path, shape: Projector) -> None:
    """The account is within 15 % of what is held more: no model around it hides its error."""
    settings = parse_settings({"memory_reserve": 0})
    finder = ServerFinder(settings, tmp_path)
    server = await finder.find()
    assert server is not None
    tiny.write_completion_model(tmp_path / "m.gguf", context_length=2048)
    write_projector(tmp_path / "p.gguf", shape, tiny.WIDTH)
    blind = Case(model_files(tmp_path / "m.gguf"), BackendMode.COMPLETION, 2, served(2048, 2))
    files = model_files(tmp_path / "m.gguf", tmp_path / "p.gguf")
    senses = replace(blind, files=files, image=shape.largest)
    more = await held(server, senses) - await held(server, blind)
    memory = MemoryEstimator(finder, settings)
    told = [
        (await memory.required([case.files], case.configuration)).ram_bytes
        for case in (senses, blind)
    ]
    assert (told[0] - told[1]) / more == pytest.approx(1, abs=0.15)
