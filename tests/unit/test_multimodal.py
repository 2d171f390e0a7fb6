"""runnerd.models.multimodal: what a projector makes of the largest image or sound."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.backends.llamacpp.footprint import Workload
from runnerd.backends.llamacpp.projector import projector_memory
from runnerd.backends.model_files import ModelFiles, SenseFacts
from runnerd.models.gguf_header import GGUFHeader, Tensor, Value
from runnerd.models.multimodal import senses


def header(metadata: dict[str, Value], *tensors: Tensor) -> GGUFHeader:
    named = {f"clip.{key}": value for key, value in metadata.items()}
    return GGUFHeader("p", 3, named, {}, tensors, 32, 0, 0)


def eyes(kind: str, **more: Value) -> SenseFacts:
    """Return what an eye of a kind, 448 pixels wide with patches of 14, sees with."""
    said: dict[str, Value] = {"image_size": 448, "patch_size": 14, "projector_type": kind, **more}
    (found,) = senses(header({f"vision.{key}": value for key, value in said.items()}))
    return found


def tensor(name: str, *shape: int) -> Tensor:
    return Tensor(name, shape, 0, 0, 0)


@pytest.mark.parametrize(
    ("kind", "more", "tokens", "token_positions", "pieces"),
    [
        ("mlp", {}, 1024, 1, 1),
        ("mlp", {"image_grid_pinpoints": [448, 896, 896, 896, 1344, 448]}, 1024, 1, 5),
        ("novel", {}, 1024, 1, 1),
        ("novel", {"image_max_pixels": 28 * 28 * 10, "spatial_merge_size": 2}, 10, 4, 1),
        ("gemma3", {}, 64, 16, 1),
        ("gemma3", {"projector.scale_factor": 2}, 256, 4, 1),
        ("internvl", {}, 256, 4, 13),
        ("internvl", {"preproc_max_tiles": 6}, 256, 4, 7),
        ("idefics3", {"projector.scale_factor": 4, "preproc_image_size": 1792}, 64, 16, 17),
        ("qwen2vl_merger", {}, 4096, 4, 1),
        ("pixtral", {"spatial_merge_size": 2}, 1024, 4, 1),
        ("gemma4v", {}, 1120, 9, 1),
        ("resampler", {}, 1024, 1, 10),
    ],
)
def test_the_largest_image(
    kind: str, more: dict[str, Value], tokens: int, token_positions: int, pieces: int
) -> None:
    """Each kind scales, merges and cuts images in its own way; what is not known is scaled."""
    found = eyes(kind, **more)
    assert (found.tokens, found.token_positions, found.pieces) == (tokens, token_positions, pieces)
    assert found.position_inputs == 3 * 14 * 14
    assert not found.hears


def test_a_kind_that_merges_in_its_first_layer() -> None:
    """Its patches are as large as other kinds' tokens."""
    found = eyes("gemma4uv", **{"projector.scale_factor": 3})
    assert (found.tokens, found.token_positions) == (1120, 1)
    assert found.position_inputs == 3 * 42 * 42


def test_how_a_kind_evaluates() -> None:
    """Batches, masks, gates and what room is reserved for."""
    assert eyes("internvl").batches
    assert eyes("qwen2.5vl_merger").masked
    assert not eyes("qwen2vl_merger").masked
    found = eyes("qwen2vl_merger")
    assert found.adjustable
    assert found.reserved_tokens == 46 * 46
    assert not eyes("mlp").adjustable
    (gated,) = senses(header({}, tensor("v.blk.0.ffn_gate.weight", 8, 8)))
    assert gated.gated


def test_ears() -> None:
    """A sound is heard in pieces, as many positions as the encoder has."""
    metadata: dict[str, Value] = {
        "has_audio_encoder": True, "audio.projector_type": "voxtral",
        "audio.projector.stack_factor": 4, "audio.num_mel_bins": 128,
        "audio.embedding_length": 1280, "audio.feed_forward_length": 5120,
        "audio.attention.head_count": 20,
    }  # fmt: skip
    expected = SenseFacts(
        embedding_length=1280, feed_forward_length=5120, head_count=20,
        tokens=188, token_positions=8, position_inputs=256, hears=True,
    )  # fmt: skip
    assert senses(header(metadata)) == (expected,)
    (short,) = senses(header(metadata, tensor("a.position_embd.weight", 1280, 750)))
    assert short.tokens == 94
    (unpooled,) = senses(header(metadata | {"audio.projector_type": "ultravox"}))
    assert (unpooled.tokens, unpooled.token_positions) == (375, 4)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, [False]),
        ({"has_vision_encoder": True}, [False]),
        ({"has_audio_encoder": True}, [True]),
        ({"has_audio_encoder": True, "has_vision_encoder": True}, [False, True]),
    ],
)
def test_which_senses(metadata: dict[str, Value], expected: list[bool]) -> None:
    """Eyes come before ears; a projector that says nothing has eyes."""
    assert [sense.hears for sense in senses(header(metadata))] == expected


NUMBERS = st.integers(-(2**63), 2**64 - 1)
KEYS = st.sampled_from(
    [
        "vision.image_size", "vision.patch_size", "vision.image_max_pixels",
        "vision.spatial_merge_size", "vision.projector.scale_factor", "vision.embedding_length",
        "vision.feed_forward_length", "vision.preproc_max_tiles", "vision.preproc_image_size",
        "vision.image_grid_pinpoints", "audio.projector.stack_factor", "audio.num_mel_bins",
    ]
)  # fmt: skip
KINDS = st.sampled_from(["", "mlp", "idefics3", "internvl", "gemma4uv", "qwen2.5vl_merger"])


@given(st.dictionaries(KEYS, NUMBERS | st.lists(NUMBERS, max_size=5)), KINDS)
def test_a_header_may_say_anything(numbers: dict[str, int | list[int]], kind: str) -> None:
    """Whatever the numbers are, the facts are ones that can be kept and reckoned with."""
    metadata: dict[str, Value] = {"projector_type": kind, "has_audio_encoder": True}
    metadata |= {key: list(value) if isinstance(value, list) else value
                 for key, value in numbers.items()}  # fmt: skip
    for found in senses(header(metadata | {"has_vision_encoder": True})):
        assert msgspec.json.decode(msgspec.json.encode(found), type=SenseFacts) == found
        assert found.tokens >= 1
        files = ModelFiles(Path(__file__), 0, Path(__file__), senses=(found,))
        assert projector_memory(files, Workload(2**63, 4), None).ram_bytes > 0
