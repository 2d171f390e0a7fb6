"""runnerd.models.attention: what a token takes in the cache, by layer."""

from __future__ import annotations

import pytest

from runnerd.models.attention import Cached, cached
from runnerd.models.gguf import GGUFHeader, Value

BASE: dict[str, Value] = {
    "block_count": 12, "embedding_length": 512, "attention.head_count": 8,
}  # fmt: skip


def header(architecture: str, **more: Value) -> GGUFHeader:
    said = {**BASE, **{key.replace("__", "."): value for key, value in more.items()}}
    metadata = {f"{architecture}.{key}": value for key, value in said.items()}
    return GGUFHeader("m", 3, metadata, {}, (), 32, 0, 0)


@pytest.mark.parametrize(
    ("architecture", "more", "expected"),
    [
        ("llama", {}, Cached(12 * 8 * 128)),
        ("llama", {"attention__head_count_kv": 2}, Cached(12 * 2 * 128)),
        (
            "qwen3",
            {"attention__head_count_kv": 2, "attention__key_length": 96},
            Cached(12 * 2 * (96 + 64)),
        ),
        ("bert", {"attention__causal": False}, Cached()),
        ("gemma3", {"attention__sliding_window": 100}, Cached(2 * 1024, 10 * 1024, 100)),
        ("gemma2", {"attention__sliding_window": 100}, Cached(6 * 1024, 6 * 1024, 100)),
        ("novel", {"attention__sliding_window": 100}, Cached(12 * 1024, 0, 100)),
        (
            "novel",
            {"attention__sliding_window": 9, "attention__sliding_window_pattern": 4},
            Cached(3 * 1024, 9 * 1024, 9),
        ),
        (
            "novel",
            {
                "attention__sliding_window": 9,
                "attention__sliding_window_pattern": [True] * 11 + [False],
            },
            Cached(1024, 11 * 1024, 9),
        ),
        ("lfm2", {"attention__head_count_kv": [0] * 9 + [4] * 3}, Cached(3 * 4 * 128)),
        ("qwen3next", {"full_attention_interval": 4}, Cached(3 * 1024)),
        ("gemma3n", {"attention__shared_kv_layers": 5}, Cached(7 * 1024)),
        (
            "deepseek2",
            {
                "attention__head_count_kv": 1,
                "attention__key_length": 576,
                "attention__value_length": 512,
                "attention__key_length_mla": 192,
            },
            Cached(12 * 576),
        ),
    ],
)
def test_architectures(architecture: str, more: dict[str, Value], expected: Cached) -> None:
    """Grouped heads, windows, recurrent layers, shared layers, compressed K and V."""
    assert cached(header(architecture, **more), architecture) == expected


@pytest.mark.parametrize("count", [-5, 0, 2**63])
def test_impossible_numbers(count: int) -> None:
    """What a stranger's file claims costs no time and gives no negative size."""
    found = cached(header("llama", block_count=count, attention__head_count_kv=count), "llama")
    assert found.whole >= 0
    found = cached(header("llama", block_count=4, attention__head_count_kv=[count] * 4), "llama")
    assert found.whole >= 0
