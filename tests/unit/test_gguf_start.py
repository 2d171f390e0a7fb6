"""What the first bytes of a GGUF file say, whatever they are."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from runnerd.models import tiny
from runnerd.models.gguf_start import START_BYTES, GGUFStart, read_start


def text(value: str) -> bytes:
    """A GGUF string."""
    return struct.pack("<Q", len(value)) + value.encode()


def start(tensors: int = 3, **texts: str) -> bytes:
    """The beginning of a GGUF file with these texts."""
    pairs = b"".join(
        text(f"general.{name}") + struct.pack("<I", 8) + text(value)
        for name, value in texts.items()
    )
    return struct.pack("<4sIQQ", b"GGUF", 3, tensors, len(texts)) + pairs


def test_real_file(tmp_path: Path) -> None:
    """The beginning of a real one is enough."""
    path = tmp_path / "m.gguf"
    tiny.write_completion_model(path)
    found = read_start(path.read_bytes()[:START_BYTES])
    assert found is not None
    assert (found.architecture, found.tensors > 0) == ("llama", True)


@pytest.mark.parametrize("data", [b"", b"GGUF", b"x" * 100, b"GGUF" + b"\xff" * 100])
def test_what_is_no_gguf(data: bytes) -> None:
    """It says nothing."""
    assert read_start(data) is None


def test_any_end_is_an_end() -> None:
    """Bytes that stop anywhere, or lengths beyond them, leave what was read before."""
    data = start(architecture="llama", type="model")
    for end in range(24, len(data)):
        assert read_start(data[:end]) in (
            GGUFStart(3),
            GGUFStart(3, architecture="llama"),
        )
    huge = start(architecture="llama") + text("x") + struct.pack("<IIQ", 9, 8, 2**63)
    assert read_start(huge.replace(struct.pack("<QQ", 3, 1), struct.pack("<QQ", 3, 9))) == (
        GGUFStart(3, architecture="llama")
    )
