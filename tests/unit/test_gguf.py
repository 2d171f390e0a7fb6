"""The GGUF header reader: what it finds, and what it refuses."""

from __future__ import annotations

import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runnerd.errors import InvalidModelFile
from runnerd.models import tiny
from runnerd.models.gguf import KEPT_ELEMENTS, KEPT_STRING_BYTES, read_header
from runnerd.models.gguf_header import GGUFHeader
from tests.support.ggufs import ARRAY, STRING, U32, gguf, pair, tensor, text

Read = Callable[[bytes], GGUFHeader]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a header from bytes."""

    def read(content: bytes) -> GGUFHeader:
        path = tmp_path / "x.gguf"
        path.write_bytes(content)
        return read_header(path)

    return read


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    tiny.write_completion_model(path)
    return path


def test_a_real_model(model: Path) -> None:
    """Metadata, lengths, tensors and the expected end are those of the file."""
    header = read_header(model)
    assert header.version == 3
    assert header.text("general.architecture") == "llama"
    assert header.number("llama.block_count") == tiny.BLOCKS
    assert header.lengths["tokenizer.ggml.tokens"] == 271
    assert "tokenizer.ggml.tokens" not in header.metadata
    assert header.text("tokenizer.chat_template") == tiny.CHAT_TEMPLATE
    assert len(header.tensors) == 3 + 9 * tiny.BLOCKS
    assert header.parameters == 116928
    assert header.expected_bytes == header.file_bytes == model.stat().st_size


def test_it_agrees_with_the_reference_reader(model: Path) -> None:
    """Names, shapes, types and offsets are the ones that gguf's own reader finds."""
    from gguf import GGUFReader

    reader = GGUFReader(model)
    expected = [
        (t.name, tuple(int(n) for n in t.shape), int(t.tensor_type), int(t.data_offset))
        for t in reader.tensors
    ]
    header = read_header(model)
    start = int(reader.data_offset)
    assert [(t.name, t.shape, t.type, start + t.offset) for t in header.tensors] == expected


def test_a_large_vocabulary_is_walked_over(tmp_path: Path) -> None:
    """A quarter of a million tokens are counted and not kept."""
    path = tmp_path / "vocabulary.gguf"
    tiny.write_vocabulary_only(path, 262_144)
    header = read_header(path)
    assert header.lengths["tokenizer.ggml.tokens"] == 262_144
    assert header.lengths["tokenizer.ggml.scores"] == 262_144
    assert set(header.metadata) == {
        "general.architecture",
        "general.name",
        "tokenizer.ggml.model",
    }
    assert header.expected_bytes == path.stat().st_size


def test_scalars_and_short_arrays_are_kept(read: Read) -> None:
    """Every scalar type is read, arrays up to the limit are kept, longer ones counted."""
    shorts = struct.pack("<IQ", U32, KEPT_ELEMENTS) + struct.pack("<50I", *range(50))
    longer = struct.pack("<IQ", U32, KEPT_ELEMENTS + 1) + bytes(4 * 51)
    header = read(
        gguf(
            pair("u8", 0, b"\xff"),
            pair("i8", 1, b"\xff"),
            pair("u16", 2, b"\xff\xff"),
            pair("i16", 3, b"\xff\xff"),
            pair("u32", 4, b"\xff" * 4),
            pair("i32", 5, b"\xff" * 4),
            pair("f32", 6, struct.pack("<f", 0.5)),
            pair("bool", 7, b"\1"),
            pair("string", 8, text("ü")),
            pair("u64", 10, b"\xff" * 8),
            pair("i64", 11, b"\xff" * 8),
            pair("f64", 12, struct.pack("<d", 0.25)),
            pair("strings", ARRAY, struct.pack("<IQ", STRING, 2) + text("a") + text("b")),
            pair("short", ARRAY, shorts),
            pair("long", ARRAY, longer),
        )
    )
    assert header.metadata == {
        "u8": 255,
        "i8": -1,
        "u16": 65535,
        "i16": -1,
        "u32": 2**32 - 1,
        "i32": -1,
        "f32": 0.5,
        "bool": True,
        "string": "ü",
        "u64": 2**64 - 1,
        "i64": -1,
        "f64": 0.25,
        "strings": ["a", "b"],
        "short": list(range(50)),
    }
    assert header.lengths == {"strings": 2, "short": 50, "long": 51}
    assert header.number("i32") == 0
    assert header.number("short") == 49


def test_strings_of_every_size_across_the_window(read: Read) -> None:
    """Array strings that straddle or exceed the read window are skipped to the right place."""
    sizes = [0, 1, 255, 256, 2**18 - 9, 2**18, 2**19 + 3, 7] * 10
    strings = b"".join(text(b"s" * size) for size in sizes)
    array = pair("a", ARRAY, struct.pack("<IQ", STRING, len(sizes)) + strings)
    header = read(gguf(array, pair("after", U32, struct.pack("<I", 42))))
    assert header.metadata == {"after": 42}


def test_a_huge_value_is_only_counted(read: Read) -> None:
    """A string beyond the limit is skipped, and what follows is read."""
    huge = pair("huge", STRING, text(b"x" * (KEPT_STRING_BYTES + 1)))
    header = read(gguf(huge, pair("after", STRING, text("here"))))
    assert header.metadata == {"after": "here"}
    assert header.lengths == {"huge": KEPT_STRING_BYTES + 1}


def test_an_unknown_tensor_type_is_accepted(read: Read) -> None:
    """A type that is newer than our table has no size here, but its offset is held to the file."""
    line = tensor("t", (32,), 999, 0)
    header = read(gguf(line, tensors=1, data=8))
    assert header.tensors[0].nbytes is None
    assert header.parameters == 32
    with pytest.raises(InvalidModelFile, match="truncated"):
        read(gguf(tensor("t", (32,), 999, 3200), tensors=1, data=8))


DAMAGED = {
    "empty": (b"", "empty"),
    "four bytes": (b"GGUF", "truncated"),
    "html": (b"<!doctype html><html>404</html>", "web page"),
    "json": (b'{"error":"not found"}', "web page or JSON"),
    "lfs pointer": (b"version https://git-lfs.github.com/spec/v1\n", "LFS"),
    "flipped magic": (b"GGUG" + gguf()[4:], "not a GGUF"),
    "old format": (b"tjgg" + bytes(64), "GGML"),
    "version 0": (gguf(version=0), "version 0"),
    "version 1": (gguf(version=1), "version 1"),
    "version 4": (gguf(version=4), "version 4"),
    "big endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    "huge key count": (gguf(keys=2**63), "claims"),
    "huge tensor count": (
        b"GGUF" + struct.pack("<IQQ", 3, 2**64 - 1, 0),
        "claims",
    ),
    "more keys than bytes": (gguf(keys=9999), "truncated"),
    "long key": (gguf(struct.pack("<Q", 2**40), keys=1), "more than the whole file"),
    "empty key": (gguf(pair("", U32, bytes(4))), "empty or"),
    "key twice": (gguf(pair("a", U32, bytes(4)), pair("a", U32, bytes(4))), "twice"),
    "unknown type": (gguf(pair("a", 13, bytes(8))), "unknown type 13"),
    "unknown array type": (gguf(pair("a", ARRAY, struct.pack("<IQ", 99, 1))), "unknown type"),
    "nested arrays": (gguf(pair("a", ARRAY, struct.pack("<IQ", ARRAY, 1))), "array of arrays"),
    "huge array": (gguf(pair("a", ARRAY, struct.pack("<IQ", U32, 2**62))), "elements"),
    "array past the end": (gguf(pair("a", ARRAY, struct.pack("<IQ", U32, 9999))), "truncated"),
    "string array past the end": (
        gguf(pair("a", ARRAY, struct.pack("<IQ", STRING, 100) + text("x"))),
        "truncated",
    ),
    "overflowing string in an array": (
        gguf(pair("a", ARRAY, struct.pack("<IQQ", STRING, 100, 2**64 - 1))),
        "damaged",
    ),
    "alignment 0": (gguf(pair("general.alignment", U32, bytes(4))), "alignment"),
    "alignment 24": (gguf(pair("general.alignment", U32, struct.pack("<I", 24))), "alignment"),
    "alignment as text": (gguf(pair("general.alignment", STRING, text("32"))), "alignment"),
    "offset not aligned": (
        gguf(tensor("t", (4,), 0, 16), tensors=1, data=64),
        "alignment",
    ),
    "tensor twice": (
        gguf(tensor("t", (4,), 0, 0), tensor("t", (4,), 0, 0), tensors=2, data=64),
        "same name",
    ),
    "no dimensions": (gguf(tensor("t", (), 0, 0), tensors=1), "dimensions"),
    "five dimensions": (gguf(tensor("t", (1,) * 5, 0, 0), tensors=1), "dimensions"),
    "overflowing shape": (gguf(tensor("t", (2**40,) * 4, 0, 0), tensors=1), "shape"),
    "broken blocks": (gguf(tensor("t", (33,), 2, 0), tensors=1, data=64), "blocks"),
    "long tensor name": (gguf(tensor("t" * 64, (4,), 0, 0), tensors=1, data=64), "63"),
    "offset past the end": (gguf(tensor("t", (4,), 0, 2**62), tensors=1), "damaged"),
    "weights cut off": (gguf(tensor("t", (64,), 0, 0), tensors=1, data=255), "truncated"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_refused_with_a_reason(name: str, read: Read) -> None:
    """Each kind of damage is refused as InvalidModelFile, and the message says which it is."""
    content, reason = DAMAGED[name]
    with pytest.raises(InvalidModelFile) as caught:
        read(content)
    assert reason in caught.value.message
    assert caught.value.message.startswith("x.gguf cannot be used")


def test_a_truncated_model_says_what_it_needs(model: Path, read: Read) -> None:
    """Every truncation is refused; in the weights the message has both sizes."""
    content = model.read_bytes()
    for length in [*range(0, 400, 7), *range(400, len(content), 9973), len(content) - 1]:
        with pytest.raises(InvalidModelFile):
            read(content[:length])
    with pytest.raises(InvalidModelFile, match=f"needs {len(content)} bytes and has 400000"):
        read(content[:400_000])


def test_no_memory_is_taken_on_a_claim(tmp_path: Path) -> None:
    """A sparse terabyte that claims huge strings costs nothing but the refusal."""
    path = tmp_path / "sparse.gguf"
    path.write_bytes(gguf(struct.pack("<Q", 2**39), keys=1))
    os.truncate(path, 2**40)
    with pytest.raises(InvalidModelFile, match="at most 65535"):
        read_header(path)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The header of a real model without most of its vocabulary, for mutations."""
    path = tmp_path_factory.mktemp("small") / "e.gguf"
    tiny.write_embedding_model(path)
    return path.read_bytes()


@settings(max_examples=300)
@given(data=st.data())
def test_mutations_only_ever_raise_invalid_model_file(
    data: st.DataObject, small: bytes, read: Read
) -> None:
    """Whatever bytes a header has, the reader returns or raises InvalidModelFile."""
    content = bytearray(small)
    edge = len(small) - 430_000  # about where the weights begin
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(edge, 4000)))
        change = data.draw(st.binary(min_size=1, max_size=9) | st.just(b"\xff" * 8))
        if data.draw(st.booleans()):
            content[place : place + len(change)] = change
        else:
            content[place:place] = change
    try:
        header = read(bytes(content))
    except InvalidModelFile:
        return
    assert header.expected_bytes <= len(content)


def test_long_values_together_are_bounded(tmp_path: Path) -> None:
    """However many values a header has, what is kept of them has a limit; the rest is counted."""
    value = text(b"\xf0\x9f\x98\x80" * 2**18)  # 1 MiB, four bytes a character in memory
    path = tmp_path / "long.gguf"
    strings = [pair(f"k{number}", STRING, value) for number in range(60)]
    array = struct.pack("<IQ", STRING, 50) + value * 50
    path.write_bytes(gguf(*strings, pair("list", ARRAY, array), pair("z", U32, bytes(4))))
    tracemalloc.start()
    try:
        header = read_header(path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 32 * 2**20
    assert header.metadata["z"] == 0
    assert header.lengths["k59"] == 2**20
    assert header.lengths["list"] == 50


def test_long_keys_together_are_refused(tmp_path: Path) -> None:
    """So have keys, which are names and nothing else."""
    path = tmp_path / "keys.gguf"
    path.write_bytes(gguf(*(pair(f"{number:060000}", U32, bytes(4)) for number in range(40))))
    with pytest.raises(InvalidModelFile, match="metadata keys have more than"):
        read_header(path)
