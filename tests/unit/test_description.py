"""What a model is said to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from runnerd.errors import InvalidModelFile
from runnerd.models import tiny
from runnerd.models.description import (
    check_role,
    describe,
    facts,
    role,
)
from runnerd.models.gguf import read_header
from runnerd.models.gguf_header import GGUFHeader, Tensor, Value


def header(metadata: dict[str, Value], *tensors: str, kind: int = 0) -> GGUFHeader:
    """Make a header with tensors of 32 elements."""
    return GGUFHeader(
        name="x.gguf",
        version=3,
        metadata={"general.architecture": "llama"} | metadata,
        lengths={},
        tensors=tuple(Tensor(name, (32,), kind, 0, 128) for name in tensors),
        alignment=32,
        expected_bytes=0,
        file_bytes=1000,
        elements_by_type={kind: 32 * len(tensors)},
    )


@pytest.mark.parametrize(
    ("metadata", "tensors", "expected"),
    [
        ({}, ["output.weight"], ("completion",)),
        (
            {"tokenizer.chat_template": "{% if tools %}{% endif %}"},
            ["t"],
            ("completion", "tools"),
        ),
        (
            {"tokenizer.chat_template": "tools <think>"},
            ["t"],
            ("completion", "tools", "thinking"),
        ),
        ({"tokenizer.chat_template": "enable_thinking"}, ["t"], ("completion", "thinking")),
        ({"llama.pooling_type": 0}, ["t"], ("completion",)),
        ({"llama.pooling_type": 3}, ["t"], ("embedding",)),
        ({"llama.pooling_type": 4}, ["t"], ("reranking",)),
        ({"general.architecture": "bert"}, ["t"], ("embedding",)),
        ({"general.architecture": "bert"}, ["cls.weight"], ("reranking",)),
        ({"general.architecture": "qwen3"}, ["cls.output.weight"], ("reranking",)),
    ],
)
def test_capabilities(
    metadata: dict[str, Value], tensors: list[str], expected: tuple[str, ...]
) -> None:
    """Pooling, architecture, a classification head and the template decide."""
    assert describe([header(metadata, *tensors)]).capabilities == expected


@pytest.mark.parametrize(
    ("projector", "expected"),
    [
        ({}, ("completion", "vision")),
        ({"clip.has_vision_encoder": True}, ("completion", "vision")),
        ({"clip.has_audio_encoder": True}, ("completion", "audio")),
        (
            {"clip.has_audio_encoder": True, "clip.has_vision_encoder": True},
            ("completion", "vision", "audio"),
        ),
    ],
)
def test_a_projector_adds_senses(projector: dict[str, Value], expected: tuple[str, ...]) -> None:
    """What a projector encodes becomes a capability; an old one that says nothing is for images."""
    clip = header({"general.architecture": "clip"} | projector, "v")
    assert describe([header({}, "t")], mmproj=clip).capabilities == expected


def test_quantization_and_size() -> None:
    """The stated file type counts, else the type of most weights; parameters add up over shards."""
    assert describe([header({"general.file_type": 15}, "t")]).quantization == "Q4_K_M"
    assert describe([header({"general.file_type": 1024 + 7}, "t")]).quantization == "Q8_0"
    assert describe([header({}, "t", kind=12)]).quantization == "Q4_K"
    assert describe([header({"general.file_type": 9999}, "t", kind=777)]).quantization == "type 777"
    two = describe([header({}, "a"), header({}, "b", "c")])
    assert two.parameters == "96"
    assert two.size == "1.95 KiB"


def test_the_packager_may_ask_for_a_context() -> None:
    """A packaged context size stands beside the trained length, which it defaults to."""
    trained = header({"llama.context_length": 4096}, "t")
    assert describe([trained]).context_size == 4096
    asked = describe([trained], context_size=1024)
    assert (asked.context_length, asked.context_size) == (4096, 1024)
    assert describe([header({}, "t")]).context_length is None


def test_facts_of_a_real_model(tmp_path: Path) -> None:
    """The numbers are those that the model was written with; widths per head are derived."""
    tiny.write_completion_model(tmp_path / "x.gguf")
    found = facts(read_header(tmp_path / "x.gguf"))
    assert (found.architecture, found.block_count) == ("llama", tiny.BLOCKS)
    assert (found.head_count, found.head_count_kv) == (tiny.HEADS, tiny.HEADS)
    assert found.key_length == found.value_length == tiny.WIDTH // tiny.HEADS
    assert (found.context_length, found.vocabulary_size) == (2048, 271)


def test_facts_of_hostile_metadata() -> None:
    """Zero heads, negative counts and wrong types give 0 and no exception."""
    found = facts(
        header(
            {
                "llama.attention.head_count": 0,
                "llama.block_count": -3,
                "llama.context_length": "many",
                "llama.embedding_length": [1, 2, 3],
                "llama.pooling_type": 99,
            }
        )
    )
    assert (found.head_count, found.block_count, found.context_length) == (0, 0, 0)
    assert (found.embedding_length, found.key_length, found.pooling) == (3, 0, "")


@pytest.mark.parametrize(
    ("metadata", "wanted", "reason"),
    [
        ({"general.architecture": "clip"}, "model", "projector"),
        ({"general.type": "mmproj"}, "model", "projector"),
        ({"general.type": "adapter"}, "model", "adapter"),
        ({"split.no": 1}, "model", "later part"),
        ({"general.architecture": ""}, "model", "architecture"),
        ({}, "mmproj", "whole model"),
    ],
)
def test_files_for_something_else(metadata: dict[str, Value], wanted: str, reason: str) -> None:
    """A file in the wrong place is refused with what it is."""
    with pytest.raises(InvalidModelFile, match=reason):
        check_role(header(metadata, "t"), wanted)


def test_a_vocabulary_is_no_model() -> None:
    """A file without tensors is refused."""
    assert role(header({})) == "model"
    with pytest.raises(InvalidModelFile, match="no weights"):
        describe([header({})])
