"""What a GGUF header tells: a number or a text, and none where the file has something else."""

from __future__ import annotations

from runnerd.models.gguf_header import GGUFHeader, Tensor

HEADER = GGUFHeader(
    name="x.gguf",
    version=3,
    metadata={"text": "a", "number": 7, "many": [3, 9, -1], "float": 1.5, "below": -4},
    lengths={},
    tensors=(),
    alignment=32,
    expected_bytes=0,
    file_bytes=0,
    elements_by_type={0: 6, 1: 4},
)


def test_texts() -> None:
    """A value of another kind is no text."""
    assert [HEADER.text(key) for key in ("text", "number", "none")] == ["a", "", ""]


def test_numbers() -> None:
    """Of an array it is the largest; what is no whole number from 0 up counts as 0."""
    keys = ("number", "many", "float", "below", "text", "none")
    assert [HEADER.number(key) for key in keys] == [7, 9, 0, 0, 0, 0]


def test_sizes() -> None:
    """Weights are counted over all types, a tensor's values over its shape."""
    assert HEADER.parameters == 10
    assert Tensor("t", (2, 3, 4), 0, 0, None).elements == 24
