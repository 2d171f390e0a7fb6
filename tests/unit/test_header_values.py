"""runnerd.models.header_values: numbers that no model can have are refused with the reason."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from runnerd.errors import InvalidModelFile
from runnerd.models.gguf import read_header
from runnerd.models.header_values import check_values
from tests.support.ggufs import ARRAY, F32, STRING, U32, gguf, pair, text

I32, U64, BOOL = 5, 10, 7


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., None]:
    def check(key: str, kind: int, value: bytes) -> None:
        path = tmp_path / "x.gguf"
        path.write_bytes(
            gguf(pair("general.architecture", STRING, text("llama")), pair(key, kind, value))
        )
        check_values(read_header(path))

    return check


@pytest.mark.parametrize(
    ("key", "kind", "value", "reason"),
    [
        ("context_length", U32, struct.pack("<I", 0), "is 0; 1 to"),
        ("context_length", U32, struct.pack("<I", 2**31), "is 2147483648; 1 to"),
        ("context_length", U32, struct.pack("<I", 2**32 - 1), "is 4294967295; 1 to"),
        ("context_length", U64, struct.pack("<Q", 2**63), "is 9223372036854775808; 1 to"),
        ("context_length", I32, struct.pack("<i", -1), "is -1; 1 to"),
        ("context_length", F32, struct.pack("<f", 512.0), "no whole number"),
        ("context_length", BOOL, b"\1", "no whole number"),
        ("context_length", STRING, text("512"), "no whole number"),
        ("embedding_length", U32, struct.pack("<I", 0), "is 0; 1 to"),
        ("block_count", U32, struct.pack("<I", 2**32 - 1), "1 to 65536 are possible"),
        ("attention.head_count", U32, struct.pack("<I", 2**31), "0 to 65536"),
        (
            "attention.head_count_kv",
            ARRAY,
            struct.pack("<IQII", U32, 2, 4, 2**32 - 1),
            "is 4294967295",
        ),
    ],
)
def test_what_cannot_be(
    check: Callable[..., None], key: str, kind: int, value: bytes, reason: str
) -> None:
    """Too small, too large, negative or of another type: said by its key and value."""
    with pytest.raises(InvalidModelFile, match=reason) as refused:
        check(f"llama.{key}", kind, value)
    assert f"llama.{key}" in refused.value.message


@pytest.mark.parametrize("context", [1, 512, 131_072, 10_485_760])
def test_what_can_be(check: Callable[..., None], context: int) -> None:
    """Every context that a model has had so far, and a few more."""
    check("llama.context_length", U32, struct.pack("<I", context))
    check("other.context_length", U32, bytes(4))  # not this architecture's
