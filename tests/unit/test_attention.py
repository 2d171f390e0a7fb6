"""runnerd.models.attention: what a token takes in the cache, by layer."""

from __future__ import annotations

import pytest

from runnerd.models.attention import Cached, Recurrent, cached, recurrent
from runnerd.models.gguf_header import GGUFHeader, Value

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
        ("exaone4", {"attention__sliding_window": 100}, Cached(12 * 1024)),
        ("exaone4", {"attention__sliding_window": 9, "block_count": 64}, Cached(16384, 49152, 9)),
        ("llama4", {"attention__sliding_window": 9}, Cached(3 * 1024, 9 * 1024, 8192)),
        ("llama4", {"attention__sliding_window": 0}, Cached(12 * 1024)),
        ("laguna", {"attention__sliding_window": 9}, Cached(3 * 1024, 9 * 1024, 9)),
        (
            "deepseek32",
            {"attention__indexer__key_length": 128},
            Cached(12 * (1024 + 128)),
        ),
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


@pytest.mark.parametrize(
    ("architecture", "more", "expected"),
    [
        ("llama", {}, Recurrent()),
        (
            "mamba",
            {"ssm__inner_size": 1024, "ssm__state_size": 16, "ssm__conv_kernel": 4},
            Recurrent(12 * (3 * 1024 + 16 * 1024), 1536),
        ),
        (
            "jamba",
            {
                "ssm__inner_size": 1024, "ssm__state_size": 16, "ssm__conv_kernel": 4,
                "attention__head_count_kv": [0] * 9 + [4] * 3,
            },
            Recurrent(9 * (3 * 1024 + 16 * 1024), 1536),
        ),
        (
            "mamba2",
            {
                "ssm__inner_size": 1024, "ssm__state_size": 16, "ssm__conv_kernel": 4,
                "ssm__group_count": 2,
            },
            Recurrent(12 * (3 * 1088 + 16 * 1024), 2112),
        ),
        ("rwkv7", {"wkv__head_size": 64, "token_shift_count": 1}, Recurrent(12 * 512 * 65, 2048)),
        (
            "lfm2",
            {"shortconv__l_cache": 3, "attention__head_count_kv": [0] * 9 + [4] * 3},
            Recurrent(9 * 512 * 2, 1536),
        ),
        (
            "kimi-linear",
            {
                "kda__head_dim": 128, "ssm__conv_kernel": 4, "attention__head_count": 4,
                "attention__head_count_kv": [0] * 9 + [1] * 3,
            },
            Recurrent(9 * 4 * 128 * (9 + 128), 1536),
        ),
    ],
)  # fmt: skip
def test_recurrent_layers(architecture: str, more: dict[str, Value], expected: Recurrent) -> None:
    """The convolution's last inputs, and the state."""
    assert recurrent(header(architecture, **more), architecture) == expected


def test_recurrent_models_have_no_cache() -> None:
    """Whatever their header says of heads."""
    assert cached(header("mamba2"), "mamba2") == Cached()


@pytest.mark.parametrize("count", [-5, 0, 2**63])
def test_impossible_numbers(count: int) -> None:
    """What a stranger's file claims costs no time and gives no negative size."""
    found = cached(header("llama", block_count=count, attention__head_count_kv=count), "llama")
    assert found.whole >= 0
    assert recurrent(header("mamba", block_count=count, ssm__inner_size=count), "mamba").width >= 0
    found = cached(header("llama", block_count=4, attention__head_count_kv=[count] * 4), "llama")
    assert found.whole >= 0
