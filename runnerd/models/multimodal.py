"""What a projector makes of the largest image or sound that it takes, from its header's numbers.

How an image is scaled, cut into tiles and merged into tokens is not in every file; the limits here
are llama.cpp's own (`load_hparams` in its tools/mtmd/clip.cpp).  A kind of projector that is not
known here counts as one that scales every image to the size that its header names, in one piece.
"""

from __future__ import annotations

from dataclasses import replace

from runnerd.backends.model_files import SenseFacts
from runnerd.models.gguf_header import GGUFHeader

_LARGEST_SIDE = 8192  # pixels, llama.cpp's limit; a header may say anything
_COLOURS = 3

# Patches per side of what becomes one token, where the header does not say.
_MERGES = {
    "dots_ocr": 2, "exaone4_5": 2, "gemma3": 4, "gemma4v": 3, "glm4v": 2, "glm5v": 2,
    "hunyuanvl": 2, "internvl": 2, "ling3vl": 2, "mimovl": 2, "minicpmv4_6": 4, "minimax_m3": 2,
    "muse-glimmer": 2, "paddleocr": 2, "qwen2.5o": 2, "qwen2.5vl_merger": 2, "qwen2vl_merger": 2,
    "qwen3vl_merger": 2, "step3vl": 4, "youtuvl": 2,
}  # fmt: skip

# Kinds that keep an image's size: the tokens of the largest one, and of the one that llama.cpp
# reserves room for at its start.
_RESIZED = {
    "gemma4uv": (1120, 256), "gemma4v": (1120, 256), "glm4v": (4096, 46**2),
    "hunyuanvl": (16384, 32**2), "kimik25": (4096, 4096), "kimivl": (1024, 256),
    "ling3vl": (4096, 46**2), "minimax_m3": (576, 256), "muse-glimmer": (4096, 32**2),
    "pixtral": (1024, 256), "qwen2.5o": (4096, 46**2), "qwen2.5vl_merger": (4096, 46**2),
    "qwen2vl_merger": (4096, 46**2), "qwen3vl_merger": (4096, 46**2), "youtuvl": (62500, 256),
}  # fmt: skip

# Kinds that cut a large image into tiles, and how many at most, beside one of the whole.
_MOST_TILES = {
    "deepseekocr": 9, "deepseekocr2": 6, "internvl": 12, "lfm2": 10, "llama4": 9,
    "minicpmv4_6": 9, "resampler": 9,
}  # fmt: skip

# Kinds that evaluate several tiles at once.
_BATCHING = frozenset({"deepseekocr", "deepseekocr2", "gemma4v", "internvl"})

# Kinds that look through windows, by a mask of all positions by all positions.
_MASKING = frozenset({"exaone4_5", "mimovl", "minicpmv4_6", "qwen2.5o", "qwen2.5vl_merger"})

# Kinds that hear and make one position of two after their encoder.
_POOLING = frozenset({"musicflamingo", "qwen2.5o", "qwen2a", "voxtral"})

_SOUND_POSITIONS = 1500  # of 30 seconds, Whisper's piece
_FRAMES = 2  # that one position hears
_MEL_BINS = 80


def senses(header: GGUFHeader) -> tuple[SenseFacts, ...]:
    """The encoders of a projector: one for images, one for sounds, or both."""
    hears = bool(header.metadata.get("clip.has_audio_encoder", False))
    # Older projectors state neither; all of them were for images.
    sees = bool(header.metadata.get("clip.has_vision_encoder", not hears))
    return (_sight(header),) * sees + (_hearing(header),) * hears


def _sight(header: GGUFHeader) -> SenseFacts:
    kind = _kind(header, "vision")
    patch = header.number("clip.vision.patch_size") or 1
    merge = _merge(header, kind)
    if kind == "gemma4uv":  # merges in its first layer
        patch, merge = patch * merge, 1
    pixels = _pixels(header, kind, (patch * merge) ** 2)
    return replace(
        _body(header, "vision", "v"),
        tokens=max(1, pixels // (patch * merge) ** 2),
        token_positions=merge**2,
        position_inputs=_COLOURS * patch**2,
        pieces=_tiles(header, kind) + 1,
        adjustable=kind in _RESIZED,
        reserved_tokens=_RESIZED.get(kind, (0, 0))[1],
        batches=kind in _BATCHING,
        masked=kind in _MASKING,
    )


def _hearing(header: GGUFHeader) -> SenseFacts:
    stack = header.number("clip.audio.projector.stack_factor") or 1
    stack *= 2 if _kind(header, "audio") in _POOLING else 1
    kept = [tensor.shape for tensor in header.tensors if tensor.name == "a.position_embd.weight"]
    positions = kept[0][1] if kept and len(kept[0]) == 2 else _SOUND_POSITIONS
    bins = header.number("clip.audio.num_mel_bins") or _MEL_BINS
    return replace(
        _body(header, "audio", "a"),
        tokens=-(-positions // stack),
        token_positions=stack,
        position_inputs=_FRAMES * bins,
        hears=True,
    )


def _body(header: GGUFHeader, sense: str, short: str) -> SenseFacts:
    """Return the dimensions of the encoder."""
    gate = f"{short}.blk.0.ffn_gate.weight"
    return SenseFacts(
        embedding_length=header.number(f"clip.{sense}.embedding_length"),
        feed_forward_length=header.number(f"clip.{sense}.feed_forward_length"),
        head_count=header.number(f"clip.{sense}.attention.head_count"),
        gated=any(tensor.name == gate for tensor in header.tensors),
    )


def _kind(header: GGUFHeader, sense: str) -> str:
    return header.text("clip.projector_type") or header.text(f"clip.{sense}.projector_type")


def _merge(header: GGUFHeader, kind: str) -> int:
    """Return the patches per side of one token."""
    said = header.number("clip.vision.spatial_merge_size")
    return said or header.number("clip.vision.projector.scale_factor") or _MERGES.get(kind, 1)


def _pixels(header: GGUFHeader, kind: str, token_pixels: int) -> int:
    """Return the size of what is evaluated as one image."""
    if kind in _RESIZED:
        return _RESIZED[kind][0] * token_pixels
    side = min(header.number("clip.vision.image_size"), _LARGEST_SIDE)
    most = min(header.number("clip.vision.image_max_pixels"), _LARGEST_SIDE**2)
    return most or side**2


def _tiles(header: GGUFHeader, kind: str) -> int:
    """Return into how many tiles a large image is cut at most; 0 where none is."""
    side = min(header.number("clip.vision.image_size"), _LARGEST_SIDE)
    if kind in _MOST_TILES:
        return header.number("clip.vision.preproc_max_tiles") or _MOST_TILES[kind]
    if kind == "idefics3" and side:
        longest = min(header.number("clip.vision.preproc_image_size"), _LARGEST_SIDE)
        return (-(-longest // side)) ** 2
    grids = header.metadata.get("clip.vision.image_grid_pinpoints")
    if isinstance(grids, list) and side:  # widths and heights in turn
        numbers = [value if isinstance(value, int) else 0 for value in grids]
        areas = [wide * high for wide, high in zip(numbers[::2], numbers[1::2], strict=False)]
        return max(0, min(max(areas, default=0), _LARGEST_SIDE**2)) // side**2
    return 0
