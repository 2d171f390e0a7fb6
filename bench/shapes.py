"""Dimensions for every architecture that llama.cpp has a test model for (its test-llama-archs).

The numbers that an architecture cannot do without are those of that test; sizes are a small real
model's, so that what a formula gets wrong does not hide.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_WIDTH, _BLOCKS, _HEADS, _HEADS_KV, _HEAD, _FORWARD = 1024, 4, 16, 4, 64, 2816
_MLA = (
    "deepseek2", "deepseek32", "glm-dsa", "dots3note", "kimi-linear", "bailingmoe3", "kimi-k3",
    "glm5-next", "hy-v4", "mistral4",
)  # fmt: skip
_ALTERNATES = (
    "plamo2", "jamba", "nemotron_h", "nemotron_h_moe", "granitehybrid", "lfm2", "lfm2moe",
    "kimi-linear", "bailingmoe3", "kimi-k3", "glm5-next",
)  # fmt: skip
_PATTERNED = ("cohere2moe", "mimo2", "step35", "spark2.5", "muse-glimmer", "granite-swa",
    "dots3note", "maple")  # fmt: skip
_STATE_SPACE = (
    "falcon-h1", "granitehybrid", "mamba2", "nemotron_h", "nemotron_h_moe", "plamo2", "qwen35",
    "qwen35moe", "qwen3next",
)  # fmt: skip
_WINDOWED = (
    "afmoe", "cohere2", "cohere2moe", "exaone-moe", "exaone4", "gemma2", "gemma3", "gpt-oss",
    "laguna", "llama4", "mellum", "minimax-m2", "modern-bert", "olmo2", "phi3", "phimoe", "plamo3",
    "smallthinker", *_PATTERNED,
)  # fmt: skip
DENSE = (
    "apertus", "arcee", "baichuan", "bitnet", "bloom", "chatglm", "codeshell", "cogvlm",
    "cohere2", "command-r", "deci", "dream", "ernie4_5", "exaone", "exaone4", "falcon",
    "falcon-h1", "gemma", "gemma2", "gemma3", "glm4", "gpt2", "gptneox", "granite",
    "granitehybrid", "hunyuan-dense", "internlm2", "jais", "jamba", "lfm2", "llada", "llama",
    "mamba", "mamba2", "maincoder", "minicpm", "minicpm3", "mistral3", "modern", "mpt",
    "nemotron", "nemotron_h", "olmo", "olmo2", "openelm", "orion", "pangu-embedded", "phi2",
    "phi3", "plamo", "plamo2", "plamo3", "qwen", "qwen2", "qwen2vl", "qwen3", "qwen35", "qwen3vl",
    "refact", "seed_oss", "smollm3", "stablelm", "starcoder", "starcoder2", "talkie", "xverse",
)  # fmt: skip
EXPERTS = (
    "afmoe", "arctic", "bailingmoe", "bailingmoe2", "cohere2moe", "dbrx", "deepseek", "deepseek2",
    "deepseek32", "deepseek4", "dots1", "ernie4_5-moe", "exaone-moe", "glm-dsa", "glm4moe",
    "gpt-oss", "granitemoe", "grok", "grovemoe", "hunyuan-moe", "kimi-linear", "laguna", "lfm2moe",
    "llada-moe", "llama", "llama4", "mellum", "mimo2", "minimax-m2", "mistral4", "nemotron_h_moe",
    "olmoe", "phimoe", "qwen2moe", "qwen35moe", "qwen3moe", "qwen3next", "qwen3vlmoe", "rnd1",
    "smallthinker",
)  # fmt: skip
RWKV = ("rwkv6", "rwkv7", "rwkv6qwen2", "arwkv7")


def numbers(name: str, *, experts: bool = False, window: int = 512) -> dict[str, Any]:
    """Return the header of a model of this architecture."""
    width, blocks, heads = _WIDTH, _BLOCKS, _HEADS
    mla = name in _MLA
    said: dict[str, Any] = {
        "vocab_size": 32000, "context_length": 131072, "embedding_length": width,
        "features_length": width, "block_count": blocks, "leading_dense_block_count": 1,
        "feed_forward_length": _FORWARD, "use_parallel_residual": False, "logit_scale": 1.0,
        "attention.head_count": heads, "attention.head_count_kv": 1 if mla else _HEADS_KV,
        "attention.max_alibi_bias": 8.0, "attention.clamp_kqv": 1.0,
        "attention.layer_norm_epsilon": 1e-5, "attention.layer_norm_rms_epsilon": 1e-5,
        "attention.group_norm_epsilon": 1e-5, "attention.group_norm_groups": 8,
        "attention.q_lora_rank": 512, "attention.kv_lora_rank": 512,
        "attention.relative_buckets_count": 8,
        "attention.indexer.head_count": 64, "attention.indexer.key_length": 128,
        "attention.indexer.top_k": 2048, "attention.indexer.block_size": 64,
        "rope.dimension_sections": [16, 8, 8, 0],
        "residual_scale": 3.55, "rescale_every_n_layers": 6,
    }  # fmt: skip
    if mla:
        said |= {
            "attention.key_length": 576, "attention.value_length": 512, "rope.dimension_count": 64,
            "attention.key_length_mla": 192, "attention.value_length_mla": 128,
        }  # fmt: skip
    said |= _recurrent(name, width)
    if name in _ALTERNATES:
        some = [0 if block % 2 else heads for block in range(blocks)]
        said["attention.head_count"] = some
        said["attention.head_count_kv"] = [_HEADS_KV if each else 0 for each in some]
    if name.startswith("nemotron_h"):
        some = [heads if block % 4 == 1 else 0 for block in range(blocks)]
        said["attention.head_count"] = some
        said["attention.head_count_kv"] = [_HEADS_KV if each else 0 for each in some]
        said["feed_forward_length"] = [0 if block % 2 == 0 or each else _FORWARD
            for block, each in enumerate(some)]  # fmt: skip
    if name in _WINDOWED:
        said["attention.sliding_window"] = window
    if name in _PATTERNED:
        said["attention.sliding_window_pattern"] = [block % 2 for block in range(blocks)]
    if experts:
        said |= {
            "expert_feed_forward_length": 512, "expert_shared_feed_forward_length": 512,
            "expert_count": 16, "expert_used_count": 4, "expert_shared_count": 1,
            "expert_gating_func": 4 if name == "deepseek4" else 2, "expert_group_scale": 1.0,
            "experts_per_group": 1, "interleave_moe_layer_step": 2, "expert_latent_length": 512,
        }  # fmt: skip
    return said


def _recurrent(name: str, width: int) -> dict[str, Any]:
    """Return what a header says of layers that keep a state."""
    if "rwkv" in name:
        return {
            "wkv.head_size": 64, "time_mix_extra_dim": 64, "time_decay_extra_dim": 128,
            "attention.decay_lora_rank": 64, "attention.iclr_lora_rank": 64,
            "attention.value_residual_mix_lora_rank": 32, "attention.gate_lora_rank": 128,
            "token_shift_count": 1 if name in ("arwkv7", "rwkv6qwen2") else 2,
        }  # fmt: skip
    if name.startswith("lfm2"):
        return {"shortconv.l_cache": 3}
    if name.startswith(("kimi", "bailingmoe3", "glm5")):
        return {
            "kda.head_dim": 128, "kda.safe_gate": True, "kda.gate_lower_bound": -5.0,
            "ssm.conv_kernel": 4,
        }  # fmt: skip
    if name in ("mamba", "jamba"):
        return {
            "ssm.inner_size": 2 * width, "ssm.conv_kernel": 4, "ssm.state_size": 16,
            "ssm.time_step_rank": width // 16,
        }  # fmt: skip
    if name not in _STATE_SPACE:
        return {}
    interval = {"full_attention_interval": 4} if name.startswith("qwen") else {}
    return interval | {
        "ssm.inner_size": 2 * width, "ssm.conv_kernel": 4, "ssm.state_size": 128,
        "ssm.time_step_rank": 16 if name.startswith("qwen") else 32,
        "ssm.group_count": 0 if name == "plamo2" else 16 if name.startswith("qwen") else 2,
    }  # fmt: skip


ENCODERS = (
    "bert", "eurobert", "jina-bert-v2", "jina-bert-v3", "modern-bert", "neo-bert", "nomic-bert",
    "nomic-bert-moe",
)  # fmt: skip
_ENCODERS: dict[str, dict[str, int]] = {
    "jina-bert-v2": {"vocab_size": 30528, "embedding_length": 512, "block_count": 6,
        "feed_forward_length": 2048, "attention.head_count": 8},
    "modern-bert": {"vocab_size": 50368, "feed_forward_length": 1152,
        "attention.sliding_window": 128},
    "eurobert": {"vocab_size": 128256},
}  # fmt: skip


def encoder(name: str) -> dict[str, Any]:
    """Return the header of an encoder of this architecture, a base model's."""
    said: dict[str, Any] = {
        "vocab_size": 30522, "context_length": 8192, "embedding_length": 768, "block_count": 12,
        "feed_forward_length": 3072, "attention.head_count": 12,
        "attention.layer_norm_epsilon": 1e-5, "attention.layer_norm_rms_epsilon": 1e-5,
        "attention.causal": False, "pooling_type": 1, ".tokenizer.ggml.token_type_count": 2,
        "attention.max_alibi_bias": 8.0, "rope.dimension_count": 64,
    }  # fmt: skip
    if name == "nomic-bert-moe":
        said |= {"moe_every_n_layers": 2, "expert_count": 8, "expert_used_count": 2}
    return said | _ENCODERS.get(name, {})


def everything() -> Iterator[tuple[str, bool]]:
    """Yield every architecture, and whether it is meant with experts."""
    yield from ((name, False) for name in (*ENCODERS, *DENSE, *RWKV))
    yield from ((name, True) for name in EXPERTS)
