"""Projectors (eyes and ears) of real dimensions with random weights, for the memory benchmark.

Each has the width of its model's own, and a few blocks of it: what an evaluation takes does not
depend on how many there are, and the fewer they are the less the weights hide of its error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

from bench.models import Matrices, norm
from runnerd.models.tiny import finish

_MEL_BINS = 128
_POSITIONS = 1500  # of Whisper's encoder: 30 seconds

_GATED = "qwen2.5vl_merger"  # and looks through windows in all blocks but the last

Tensors = Iterator[tuple[str, tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class Projector:
    """A projector's dimensions; `kind` is llama.cpp's name of what leads to the language model.

    `image` and `patch` are in pixels, 0 for one that hears; of `merge` by `merge` patches, or
    `merge` positions of a sound, one token is made.  `tiles` is how many of the image's size the
    largest one is made of, in both directions.
    """

    name: str
    kind: str
    width: int
    blocks: int
    heads: int
    feed_forward: int
    image: int = 0
    patch: int = 0
    merge: int = 1
    tiles: tuple[int, int] = (1, 1)

    @property
    def largest(self) -> tuple[int, int]:
        """The size of the largest image."""
        return self.image * self.tiles[0], self.image * self.tiles[1]

    @property
    def hears(self) -> bool:
        """Whether it is for sounds instead of images."""
        return not self.image


_CLIP = Projector("CLIP ViT-L 336 (LLaVA 1.5), 4 blocks", "mlp", 1024, 4, 16, 4096, 336, 14)
_TILES = Projector(
    "InternViT 448 (InternVL3), 2 blocks", "internvl", 1024, 2, 16, 4096, 448, 14, 2, (4, 3)
)
_SIGLIP = Projector("SigLIP 400M 896 (Gemma 3), 2 blocks", "gemma3", 1152, 2, 16, 4304, 896, 14, 4)
_QWEN2 = Projector("Qwen2-VL, 2 blocks", "qwen2vl_merger", 1280, 2, 16, 5120, 672, 14, 2)
_QWEN25 = Projector("Qwen2.5-VL, 2 blocks", _GATED, 1280, 2, 16, 3420, 672, 14, 2)
_WHISPER = Projector("Whisper large (Voxtral), 4 blocks", "voxtral", 1280, 4, 20, 5120, merge=4)

_AT_672 = ("--image-max-tokens", "576")  # a larger image takes minutes

# Projector, slots, runtime flags.
CASES: tuple[tuple[Projector, int, tuple[str, ...]], ...] = (
    (_CLIP, 1, ()),
    (_CLIP, 4, ()),
    (_TILES, 1, ()),
    (_SIGLIP, 4, ()),
    (_SIGLIP, 1, ("--flash-attn", "off")),
    (_QWEN2, 1, _AT_672),
    (_QWEN25, 3, _AT_672),
    (_WHISPER, 1, ()),
    (_WHISPER, 4, ()),
)


def write_projector(path: Path, shape: Projector, output: int) -> None:
    """Write a projector to a language model that is `output` wide."""
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type(gguf.GGUFType.MMPROJ)
    (writer.add_vision_use_silu if shape.kind == _GATED else writer.add_vision_use_gelu)(True)
    describe(writer, shape, output)
    matrices = Matrices(seed=3)
    for name, dimensions in tensors(shape, output):
        if len(dimensions) == 1 or dimensions[-1] == 1 or "position_embd" in name:
            writer.add_tensor(name, np.zeros(dimensions, dtype=np.float32))
            continue
        writer.add_tensor(name, matrices.of(dimensions))
    finish(writer)


def describe(writer: gguf.GGUFWriter, shape: Projector, output: int) -> None:
    """Add what a file's header says of a projector to a language model that is `output` wide."""
    keys = gguf.Keys.ClipAudio if shape.hears else gguf.Keys.ClipVision
    writer.add_string(keys.PROJECTOR_TYPE, shape.kind)
    writer.add_uint32(keys.EMBEDDING_LENGTH, shape.width)
    writer.add_uint32(keys.FEED_FORWARD_LENGTH, shape.feed_forward)
    writer.add_uint32(keys.PROJECTION_DIM, output)
    writer.add_uint32(keys.BLOCK_COUNT, shape.blocks)
    writer.add_uint32(keys.Attention.HEAD_COUNT, shape.heads)
    writer.add_float32(keys.Attention.LAYERNORM_EPS, 1e-5 if shape.hears else 1e-6)
    if shape.hears:
        writer.add_clip_has_audio_encoder(True)
        writer.add_audio_num_mel_bins(_MEL_BINS)
        writer.add_audio_stack_factor(shape.merge)
        return
    writer.add_clip_has_vision_encoder(True)
    writer.add_vision_image_size(shape.image)
    writer.add_vision_patch_size(shape.patch)
    writer.add_vision_image_mean([0.5, 0.5, 0.5])
    writer.add_vision_image_std([0.5, 0.5, 0.5])
    if shape.kind == "internvl":
        writer.add_vision_projector_scale_factor(shape.merge)
    if shape.kind == _GATED:
        writer.add_vision_n_wa_pattern(shape.blocks)


def tensors(shape: Projector, output: int) -> Tensors:
    """Yield the name and the dimensions of each tensor."""
    yield from _input(shape)
    sense = "a" if shape.hears else "v"
    for block in range(shape.blocks):
        yield from _block(f"{sense}.blk.{block}.", shape)
    yield from norm(f"{sense}.post_ln", shape.width)
    yield from _output(shape, output)


def _input(shape: Projector) -> Tensors:
    if shape.hears:
        for number, inputs in ((1, _MEL_BINS), (2, shape.width)):
            yield f"a.conv1d.{number}.weight", (shape.width, inputs, 3)
            yield f"a.conv1d.{number}.bias", (shape.width, 1)
        yield "a.position_embd.weight", (_POSITIONS, shape.width)
        return
    kernel = (shape.width, 3, shape.patch, shape.patch)
    yield "v.patch_embd.weight", kernel
    if shape.kind in ("qwen2vl_merger", _GATED):  # turns its positions, and sees two frames at once
        yield "v.patch_embd.weight.1", kernel
        return
    classes = shape.kind in ("mlp", "internvl")
    patches = (shape.image // shape.patch) ** 2
    yield "v.position_embd.weight", (patches + classes, shape.width)
    if classes:
        yield "v.class_embd", (shape.width,)
    if shape.kind == "mlp":
        yield from norm("v.pre_ln", shape.width)
    else:
        yield "v.patch_embd.bias", (shape.width,)


def _block(start: str, shape: Projector) -> Tensors:
    yield from norm(start + "ln1", shape.width)
    yield from norm(start + "ln2", shape.width)
    for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
        yield f"{start}{name}.weight", (shape.width, shape.width)
        if name != "attn_k" or not shape.hears:
            yield f"{start}{name}.bias", (shape.width,)
    if shape.kind == _GATED:
        yield start + "ffn_gate.weight", (shape.feed_forward, shape.width)
        yield start + "ffn_gate.bias", (shape.feed_forward,)
    yield start + "ffn_up.weight", (shape.feed_forward, shape.width)
    yield start + "ffn_up.bias", (shape.feed_forward,)
    yield start + "ffn_down.weight", (shape.width, shape.feed_forward)
    yield start + "ffn_down.bias", (shape.width,)


def _output(shape: Projector, output: int) -> Tensors:
    width = shape.width
    if shape.kind == "mlp":
        yield from _dense("mm.0", width, output)
        yield from _dense("mm.2", output, output)
    elif shape.kind == "internvl":
        merged = width * shape.merge**2
        yield from norm("mm.model.mlp.0", merged)
        yield from _dense("mm.model.mlp.1", merged, output)
        yield from _dense("mm.model.mlp.3", output, output)
    elif shape.kind == "gemma3":
        yield "mm.input_projection.weight", (width, output)
        yield "mm.soft_emb_norm.weight", (width,)
    elif shape.kind in ("qwen2vl_merger", _GATED):
        yield from _dense("mm.0", 4 * width, 4 * width)
        yield from _dense("mm.2", 4 * width, output)
    elif shape.kind == "ultravox":
        yield "mm.a.norm_pre.weight", (width * shape.merge,)
        yield "mm.a.mlp.1.weight", (2 * shape.feed_forward, width * shape.merge)
        yield "mm.a.norm_mid.weight", (shape.feed_forward,)
        yield "mm.a.mlp.2.weight", (output, shape.feed_forward)
    else:
        yield "mm.a.mlp.1.weight", (output, width * shape.merge)
        yield "mm.a.mlp.2.weight", (output, output)


def _dense(name: str, inputs: int, outputs: int) -> Tensors:
    yield name + ".weight", (outputs, inputs)
    yield name + ".bias", (outputs,)
