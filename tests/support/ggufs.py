"""Hand-written GGUF content, and what a folder holds: for the tests of the models room."""

from __future__ import annotations

import struct
from pathlib import Path

from runnerd.models import tiny

U32, F32, STRING, ARRAY = 4, 6, 8, 9  # GGUF's value types


def text(value: str | bytes) -> bytes:
    """Write a GGUF string."""
    content = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(content)) + content


def pair(key: str, kind: int, value: bytes) -> bytes:
    """Write a metadata pair."""
    return text(key) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    """Write a tensor's line."""
    head = text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return head + struct.pack("<IQ", kind, offset)


def gguf(
    *parts: bytes,
    tensors: int = 0,
    keys: int | None = None,
    version: int = 3,
    data: int = 0,
) -> bytes:
    """Write a file from pairs and tensor lines, padded to 32, with `data` bytes of weights."""
    keys = len(parts) - tensors if keys is None else keys
    head = b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + b"".join(parts)
    return head + bytes(-len(head) % 32 if tensors else 0) + bytes(data)


def smallest_model() -> bytes:
    """Write what passes for a model's weights in a few hundred bytes; no engine loads it."""
    return gguf(
        pair("general.architecture", STRING, text("llama")),
        pair("llama.block_count", U32, struct.pack("<I", 1)),
        tensor("t", (4,), 0, 0),
        tensors=1,
        data=16,
    )


def projector(kind: str = "vision") -> bytes:
    """Write what passes for a projector of pictures, or of sounds (`audio`)."""
    return gguf(
        pair("general.architecture", STRING, text("clip")),
        pair(f"clip.has_{kind}_encoder", 7, b"\1"),
        tensor("v.weight", (4,), 0, 0),
        tensors=1,
        data=16,
    )


def snapshot(root: Path) -> dict[str, bytes]:
    """Return everything below a folder, files with their content."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else b""
        for path in root.rglob("*")
    }


def adapter(path: Path) -> Path:
    """Write a LoRA adapter for the tiny completion model that changes what it says."""
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, 4.0)
    random = np.random.default_rng(7)
    for block in range(tiny.BLOCKS):
        for half, shape in (("a", (4, tiny.WIDTH)), ("b", (tiny.WIDTH, 4))):
            values = random.standard_normal(shape).astype(np.float32)
            writer.add_tensor(f"blk.{block}.attn_output.weight.lora_{half}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def tiny_projector(path: Path) -> Path:
    """Write an image projector with random weights for the tiny completion model.

    It makes 16 tokens of an image: 4 by 4 patches of 8 by 8 pixels.
    """
    import gguf
    import numpy as np

    width, patch, image, hidden = 32, 8, 32, 64
    random = np.random.default_rng(11)
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type(gguf.GGUFType.MMPROJ)
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type("mlp")
    writer.add_vision_image_size(image)
    writer.add_vision_patch_size(patch)
    writer.add_vision_embedding_length(width)
    writer.add_vision_feed_forward_length(hidden)
    writer.add_vision_projection_dim(tiny.WIDTH)
    writer.add_vision_block_count(1)
    writer.add_vision_head_count(2)
    writer.add_vision_attention_layernorm_eps(1e-5)
    writer.add_vision_image_mean([0.5, 0.5, 0.5])
    writer.add_vision_image_std([0.5, 0.5, 0.5])
    writer.add_vision_use_gelu(True)

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(name, (random.standard_normal(shape) * 0.3).astype(np.float32))

    add("v.patch_embd.weight", width, 3, patch, patch)
    add("v.position_embd.weight", (image // patch) ** 2 + 1, width)
    add("v.class_embd", width)
    for norm in ("v.pre_ln", "v.blk.0.ln1", "v.blk.0.ln2"):
        add(f"{norm}.weight", width)
        add(f"{norm}.bias", width)
    for name, outputs, inputs in (
        *((f"v.blk.0.attn_{part}", width, width) for part in ("q", "k", "v", "out")),
        ("v.blk.0.ffn_up", hidden, width),
        ("v.blk.0.ffn_down", width, hidden),
        ("mm.0", tiny.WIDTH, width),
        ("mm.2", tiny.WIDTH, tiny.WIDTH),
    ):
        add(f"{name}.weight", outputs, inputs)
        add(f"{name}.bias", outputs)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
