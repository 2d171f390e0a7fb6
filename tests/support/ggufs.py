"""Hand-written GGUF content, and what a folder holds: for the tests of the models room."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from runnerd.models import tiny

U32, F32, STRING, ARRAY = 4, 6, 8, 9  # GGUF's value types

_FIM = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]  # the engine knows them by these


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


def projector() -> bytes:
    """Write what passes for a projector of pictures; no engine loads it."""
    return gguf(
        pair("general.architecture", STRING, text("clip")),
        pair("clip.has_vision_encoder", 7, b"\1"),
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


def write_coder(path: Path) -> None:
    """Write a tiny completion model that fills in the middle."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "_CONTROL", [*tiny._CONTROL, *_FIM])
        tiny.write_completion_model(path)


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
    tiny.finish(writer)
    return path
