"""What the first bytes of a file say of it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from runnerd.models import tiny
from runnerd.models.gguf_start import START_BYTES, GGUFStart, read_start
from runnerd.pulls.file_kinds import FileKind, bits_of, kind_by_header


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


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (start(architecture="llama", type="model"), FileKind.WEIGHTS),
        (start(architecture="llama", type="adapter"), FileKind.ADAPTER),
        (start(architecture="clip"), FileKind.PROJECTOR),
        (start(type="imatrix"), FileKind.MATRIX),
        (start(tensors=0, architecture="llama"), FileKind.VOCABULARY),
        (start(architecture="eagle3"), FileKind.DRAFT),
        (start(architecture="gemma4-assistant"), FileKind.DRAFT),
        (start(), FileKind.WEIGHTS),
    ],
)
def test_kinds_by_header(data: bytes, kind: FileKind) -> None:
    """Type, architecture and number of tensors tell files apart."""
    found = read_start(data)
    assert found is not None
    assert kind_by_header(found) is kind


def test_real_file(tmp_path: Path) -> None:
    """The beginning of a real one is enough."""
    path = tmp_path / "m.gguf"
    tiny.write_completion_model(path)
    found = read_start(path.read_bytes()[:START_BYTES])
    assert found is not None
    assert (found.architecture, kind_by_header(found)) == ("llama", FileKind.WEIGHTS)


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


@pytest.mark.parametrize(
    ("label", "bits"), [("Q4_K_M", 4.5), ("IQ2_XXS", 2.5), ("BF16", 16), ("F32", 32), ("latest", 8)]
)
def test_bits(label: str, bits: float) -> None:
    """A quantisation says about how large a weight is."""
    assert bits_of(label) == bits
