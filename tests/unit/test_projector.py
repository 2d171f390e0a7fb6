"""runnerd.backends.llamacpp.projector: what eyes and ears take beside their weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runnerd.backends.llamacpp.footprint import Workload
from runnerd.backends.llamacpp.projector import projector_memory
from runnerd.backends.model_files import ModelFacts, ModelFiles, SenseFacts

MIB = 2**20
LOAD = Workload(context=8192, slots=4)
EYES = SenseFacts(
    embedding_length=1152, feed_forward_length=4304, head_count=16,
    tokens=256, token_positions=16, position_inputs=588,
)  # fmt: skip
QWEN = replace(EYES, tokens=4096, token_positions=4, adjustable=True, reserved_tokens=2116)
WEIGHTS = 1000


@pytest.fixture
def mmproj(tmp_path: Path) -> Path:
    """A projector's file."""
    path = tmp_path / "mmproj.gguf"
    path.write_bytes(bytes(WEIGHTS))
    return path


def in_ram(mmproj: Path, sense: SenseFacts, load: Workload = LOAD) -> int:
    files = ModelFiles(mmproj, 0, mmproj, facts=ModelFacts(embedding_length=960), senses=(sense,))
    found = projector_memory(files, load, None)
    assert found.gpu_bytes == ()
    return found.ram_bytes


def on_gpu(mmproj: Path, sense: SenseFacts, load: Workload = LOAD) -> tuple[int, int]:
    """Return the bytes in RAM and those on the GPU."""
    files = ModelFiles(mmproj, 0, mmproj, facts=ModelFacts(embedding_length=960), senses=(sense,))
    found = projector_memory(files, load, "gpu1")
    ((name, size),) = found.gpu_bytes
    assert name == "gpu1"
    return found.ram_bytes, size


def test_a_model_without(mmproj: Path) -> None:
    """It needs nothing more."""
    found = projector_memory(ModelFiles(mmproj, 0), LOAD, "gpu0")
    assert (found.ram_bytes, found.gpu_bytes) == (0, ())


def test_on_the_processor(mmproj: Path) -> None:
    """Buffers for 4,096 positions, a copy of the widest activation in half, inputs of 4 slots."""
    buffers = 4096 * 4 * (4304 + 2.5 * 1152 + 588)
    copy = 4096 * 4304 * 2
    numbers = 4096 * 588
    slot = 9 * numbers + 256 * 960 * 4 + 3 * MIB
    inputs = 4 * slot + 2 * 4 * numbers + 4.5 * MIB
    assert in_ram(mmproj, EYES) == WEIGHTS + buffers + copy + inputs


def test_on_a_gpu(mmproj: Path) -> None:
    """Weights and buffers lie there, inputs in RAM; nothing is copied for the processor."""
    ram, gpu = on_gpu(mmproj, EYES)
    assert gpu == WEIGHTS + 4096 * 4 * (4304 + 2.5 * 1152 + 588)
    assert in_ram(mmproj, EYES) == ram + gpu + 4096 * 4304 * 2


def test_what_room_is_reserved_for(mmproj: Path) -> None:
    """It is taken on a GPU however small the images are, and in RAM as far as it is touched."""
    small = replace(LOAD, image_tokens=256)
    reserved = 2116 * 4 * 4 * (4304 + 2.5 * 1152 + 588)
    assert on_gpu(mmproj, QWEN, small)[1] == WEIGHTS + reserved
    unreserved = replace(QWEN, reserved_tokens=0)
    beside = reserved - (on_gpu(mmproj, unreserved, small)[1] - WEIGHTS)
    prepared = 2 * 4 * (2116 - 256) * 4 * 588  # an image of zeros, twice
    assert in_ram(mmproj, QWEN, small) == (
        in_ram(mmproj, unreserved, small) + int(0.2 * beside) + prepared
    )
    assert on_gpu(mmproj, QWEN)[1] == WEIGHTS + reserved * 4096 // 2116


def test_an_image_is_no_larger_than_the_context(mmproj: Path) -> None:
    """A larger one is refused before it is evaluated."""
    assert in_ram(mmproj, QWEN, replace(LOAD, context=3000)) == in_ram(
        mmproj, replace(QWEN, tokens=3000), LOAD
    )


def test_the_tokens_that_were_asked_for(mmproj: Path) -> None:
    """They count for kinds that know images of any size, and only for these."""
    asked = replace(LOAD, image_tokens=3000)
    assert in_ram(mmproj, QWEN, asked) == in_ram(mmproj, replace(QWEN, tokens=3000))
    assert in_ram(mmproj, EYES, asked) == in_ram(mmproj, EYES)


def test_scores_that_are_not_fused(mmproj: Path) -> None:
    """Each head has a table of all positions by all positions."""
    table = 16 * 4096**2 * 4
    loose = replace(LOAD, fused=False)
    assert in_ram(mmproj, EYES, loose) == in_ram(mmproj, EYES) + table
    assert on_gpu(mmproj, EYES, loose)[1] == on_gpu(mmproj, EYES)[1] + table


def test_a_mask(mmproj: Path) -> None:
    """It is there as float and as half where it is used, and is made in RAM."""
    masked = replace(EYES, masked=True)
    assert in_ram(mmproj, masked) == in_ram(mmproj, EYES) + 4096**2 * (4 + 2 + 4)
    ram, gpu = on_gpu(mmproj, masked)
    assert (ram, gpu) == (
        on_gpu(mmproj, EYES)[0] + 4096**2 * 4,
        on_gpu(mmproj, EYES)[1] + 4096**2 * 6,
    )


def test_tiles(mmproj: Path) -> None:
    """As many are evaluated at once as make 1,024 tokens; all of an image are held."""
    tiles = replace(EYES, pieces=13, batches=True)
    assert on_gpu(mmproj, tiles)[1] - WEIGHTS == 4 * (on_gpu(mmproj, EYES)[1] - WEIGHTS)
    one_by_one = replace(EYES, pieces=13)
    more = 4 * 12 * 9 * 4096 * 588
    assert in_ram(mmproj, one_by_one) == in_ram(mmproj, EYES) + more
    few = replace(LOAD, context=700)  # room for two
    assert in_ram(mmproj, one_by_one, few) == in_ram(mmproj, EYES, few) + more // 12


def test_a_gate_is_as_wide_again(mmproj: Path) -> None:
    """Both halves of a gated layer are there at once."""
    gated = replace(EYES, gated=True)
    assert on_gpu(mmproj, gated)[1] == on_gpu(mmproj, EYES)[1] + 4096 * 4 * 4304


def test_a_sound_is_held_as_a_file_too(mmproj: Path) -> None:
    """Its file, in text and in samples, is larger than what the encoder is given."""
    more = in_ram(mmproj, replace(EYES, hears=True)) - in_ram(mmproj, EYES)
    assert more == 4 * 4096 * 320 * 24
