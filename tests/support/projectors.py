"""Projectors with random weights for the tiny completion model: an engine really sees and hears."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runnerd.models import tiny

if TYPE_CHECKING:
    import gguf

IMAGE_TOKENS = 16
"""What an image is turned into: 4 by 4 patches of 8 by 8 pixels."""

SOUND_TOKENS = 93
"""What a sound of up to 30 s is turned into: 1,500 positions in whole stacks of 16."""

_WIDTH, _HIDDEN, _HEADS = 32, 64, 2
_PATCH, _IMAGE = 8, 32
_POSITIONS, _STACK, _MEL_BINS = 1500, 16, 80


def write_projector(path: Path) -> Path:
    """Write a projector of images (LLaVA's kind) and of sounds (Ultravox's kind)."""
    import gguf

    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type(gguf.GGUFType.MMPROJ)
    writer.add_vision_use_gelu(True)
    weights = _Weights(writer)
    _add_eyes(writer, weights)
    _add_ears(writer, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


class _Weights:
    """Adds tensors of random values; all of them come from one seed."""

    def __init__(self, writer: gguf.GGUFWriter) -> None:
        import numpy as np

        self._writer = writer
        self._random = np.random.default_rng(11)

    def add(self, name: str, *shape: int, half: bool = False) -> None:
        """Add one tensor, with `half` as the engine wants the kernels of convolutions."""
        import numpy as np

        values = self._random.standard_normal(shape) * 0.3
        self._writer.add_tensor(name, values.astype(np.float16 if half else np.float32))

    def norm(self, name: str) -> None:
        """Add a norm's weight and bias."""
        self.add(f"{name}.weight", _WIDTH)
        self.add(f"{name}.bias", _WIDTH)

    def dense(self, name: str, inputs: int, outputs: int, *, bias: bool = True) -> None:
        """Add a layer's weight and bias."""
        self.add(f"{name}.weight", outputs, inputs)
        if bias:
            self.add(f"{name}.bias", outputs)

    def block(self, name: str, *, key_bias: bool) -> None:
        """Add a transformer's block."""
        self.norm(f"{name}.ln1")
        self.norm(f"{name}.ln2")
        for part in ("q", "k", "v", "out"):
            self.dense(f"{name}.attn_{part}", _WIDTH, _WIDTH, bias=key_bias or part != "k")
        self.dense(f"{name}.ffn_up", _WIDTH, _HIDDEN)
        self.dense(f"{name}.ffn_down", _HIDDEN, _WIDTH)


def _add_eyes(writer: gguf.GGUFWriter, weights: _Weights) -> None:
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_vision_projector_type("mlp")
    writer.add_vision_image_size(_IMAGE)
    writer.add_vision_patch_size(_PATCH)
    writer.add_vision_embedding_length(_WIDTH)
    writer.add_vision_feed_forward_length(_HIDDEN)
    writer.add_vision_projection_dim(tiny.WIDTH)
    writer.add_vision_block_count(1)
    writer.add_vision_head_count(_HEADS)
    writer.add_vision_attention_layernorm_eps(1e-5)
    writer.add_vision_image_mean([0.5, 0.5, 0.5])
    writer.add_vision_image_std([0.5, 0.5, 0.5])
    weights.add("v.patch_embd.weight", _WIDTH, 3, _PATCH, _PATCH)
    weights.add("v.position_embd.weight", IMAGE_TOKENS + 1, _WIDTH)
    weights.add("v.class_embd", _WIDTH)
    weights.norm("v.pre_ln")
    weights.block("v.blk.0", key_bias=True)
    weights.dense("mm.0", _WIDTH, tiny.WIDTH)
    weights.dense("mm.2", tiny.WIDTH, tiny.WIDTH)


def _add_ears(writer: gguf.GGUFWriter, weights: _Weights) -> None:
    writer.add_clip_has_audio_encoder(True)
    writer.add_clip_audio_projector_type("ultravox")
    writer.add_audio_num_mel_bins(_MEL_BINS)
    writer.add_audio_stack_factor(_STACK)
    writer.add_audio_embedding_length(_WIDTH)
    writer.add_audio_feed_forward_length(_HIDDEN)
    writer.add_audio_projection_dim(tiny.WIDTH)
    writer.add_audio_block_count(1)
    writer.add_audio_head_count(_HEADS)
    writer.add_audio_attention_layernorm_eps(1e-5)
    for number, inputs in ((1, _MEL_BINS), (2, _WIDTH)):
        weights.add(f"a.conv1d.{number}.weight", _WIDTH, inputs, 3, half=True)
        weights.add(f"a.conv1d.{number}.bias", _WIDTH, 1)
    weights.add("a.position_embd.weight", _POSITIONS, _WIDTH)
    weights.block("a.blk.0", key_bias=False)
    weights.norm("a.post_ln")
    weights.add("mm.a.norm_pre.weight", _STACK * _WIDTH)
    weights.dense("mm.a.mlp.1", _STACK * _WIDTH, 2 * _HIDDEN, bias=False)
    weights.add("mm.a.norm_mid.weight", _HIDDEN)
    weights.dense("mm.a.mlp.2", _HIDDEN, tiny.WIDTH, bias=False)
