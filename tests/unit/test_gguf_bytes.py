"""Reading a file whose lengths may be anything."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runnerd.errors import InvalidModelFile
from runnerd.models import gguf_bytes
from runnerd.models.gguf_bytes import GGUFBytes


@contextmanager
def opened(path: Path, content: bytes) -> Iterator[GGUFBytes]:
    """A reader of this content."""
    path.write_bytes(content)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield GGUFBytes(descriptor, "model.gguf")
    finally:
        os.close(descriptor)


def string(text: bytes) -> bytes:
    """A string as the format has it."""
    return struct.pack("<Q", len(text)) + text


def test_in_order(tmp_path: Path) -> None:
    """Each read goes on where the last one ended; a look at the start changes nothing."""
    with opened(tmp_path / "f", b"GGUF" + string(b"name") + b"\x01\x02") as reader:
        assert reader.take(4) == b"GGUF"
        assert reader.string(100, "a name") == "name"
        assert reader.peek(4) == b"GGUF"
        assert (reader.position, reader.take(2)) == (16, b"\x01\x02")
        with pytest.raises(InvalidModelFile, match=r"needs 19 bytes and has 18"):
            reader.take(1)


@pytest.mark.parametrize(
    ("length", "said"),
    [(2**63, "more than the whole file"), (13, "at most 5 are accepted")],
)
def test_lengths_are_not_believed(tmp_path: Path, length: int, said: str) -> None:
    """Neither those beyond the file nor those beyond what is sensible."""
    with opened(tmp_path / "f", struct.pack("<Q", length) + b"x" * 13) as reader:
        with pytest.raises(InvalidModelFile, match=said):
            reader.string(5, "a name")


@pytest.mark.parametrize(
    ("count", "said"), [(11, "at most 10 are accepted"), (10, "truncated"), (2**63, "at most 10")]
)
def test_counts_are_not_believed(tmp_path: Path, count: int, said: str) -> None:
    """So many entries of so many bytes must lie in the file."""
    with opened(tmp_path / "f", struct.pack("<Q", count)) as reader:
        with pytest.raises(InvalidModelFile, match=said):
            reader.count("tensors", 10, least_bytes=4)


def test_a_file_that_shrinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is called truncated; nothing is read that is not there any more."""
    monkeypatch.setattr(gguf_bytes, "_WINDOW_BYTES", 8)
    with opened(tmp_path / "f", b"x" * 32) as reader:
        reader.take(8)
        os.truncate(tmp_path / "f", 10)
        with pytest.raises(InvalidModelFile, match="truncated"):
            reader.take(8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(8, 64))
def test_strings_are_skipped_whole(tmp_path: Path, strings: list[bytes], window: int) -> None:
    """Wherever the window ends, what follows them is read."""
    content = b"".join(map(string, strings))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(gguf_bytes, "_WINDOW_BYTES", window)
        with opened(tmp_path / "f", content + b"end") as reader:
            reader.skip_strings(len(strings))
            assert reader.take(3) == b"end"
        with opened(tmp_path / "f", content[:-1]) as reader:
            with pytest.raises(InvalidModelFile):
                reader.skip_strings(len(strings) or 1)
