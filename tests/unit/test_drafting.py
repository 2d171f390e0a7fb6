"""How a draft model drafts, by its header."""

from __future__ import annotations

import pytest

from runnerd.models.drafting import drafts_as
from runnerd.models.gguf_header import GGUFHeader, Tensor


def header(architecture: str, blocks: int, *tensors: str) -> GGUFHeader:
    """A header that says so many blocks and has these tensors."""
    return GGUFHeader(
        name="draft.gguf",
        version=3,
        metadata={
            "general.architecture": architecture,
            f"{architecture}.block_count": blocks,
        },
        lengths={},
        tensors=tuple(Tensor(name, (32,), 0, 0, 128) for name in tensors),
        alignment=32,
        expected_bytes=0,
        file_bytes=1000,
    )


@pytest.mark.parametrize(
    ("architecture", "blocks", "tensors", "expected"),
    [
        ("llama", 2, ["blk.0.attn_q.weight", "blk.1.attn_q.weight"], ""),
        ("qwen35", 49, ["token_embd.weight", "blk.48.nextn.eh_proj.weight"], "mtp"),
        ("qwen35", 1, ["blk.0.nextn.eh_proj.weight"], "mtp"),
        ("glm4moe", 47, ["blk.0.attn_q.weight", "blk.46.nextn.eh_proj.weight"], ""),
        ("gemma4-assistant", 4, ["blk.0.attn_q.weight"], "mtp"),
        ("eagle3", 1, ["blk.0.attn_q.weight"], "eagle3"),
        ("dflash", 4, ["blk.0.attn_q.weight"], "dflash"),
        ("dflash", 4, ["blk.0.attn_q.weight", "markov_w1.weight"], "dspark"),
        ("", 0, [], ""),
    ],
)
def test_kinds(architecture: str, blocks: int, tensors: list[str], expected: str) -> None:
    """By what llama.cpp looks at; a whole model with layers of that kind is an ordinary one."""
    assert drafts_as(header(architecture, blocks, *tensors), architecture) == expected
