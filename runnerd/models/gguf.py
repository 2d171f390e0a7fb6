"""Reads the header of a GGUF file: everything before the weights, within bounds, believing nothing.

Model files come from strangers, and GGUF parsers have a long record of allocations without limit,
loops without end and sums that overflow.  So this reader is our own and small: it reads through a
window with `pread` (a mapped file that shrinks would kill the daemon), takes no count from the
file without a limit, does not recurse, and never builds the vocabulary: arrays longer than
KEPT_ELEMENTS are walked over, a quarter of a million tokens in some tens of milliseconds.

It then holds the file to what the header promises.  A download that stopped halfway is refused
with the bytes that it needs and has.  The format is described at
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; where llama.cpp is stricter, so is this.
"""

from __future__ import annotations

import math
import os
import struct
from collections import Counter
from pathlib import Path

from runnerd.models.gguf_bytes import GGUFBytes
from runnerd.models.gguf_header import GGUFHeader, Scalar, Tensor, Value
from runnerd.models.tensors import TENSOR_TYPES

KEPT_ELEMENTS = 50  # of an array; a longer one is only counted
KEPT_STRING_BYTES = 2**20  # a longer value (such as a whole tokenizer as JSON) is only counted
KEPT_BYTES = 4 * 2**20  # of all values of one file together: what comes after is only counted

_MOST_KEYS = 2**14
_MOST_TENSORS = 2**17
_MOST_ELEMENTS = 2**24  # of all arrays of one file together
_LONGEST_KEY = 2**16 - 1
_MOST_KEY_BYTES = 2**20  # of all keys of one file together
_LONGEST_TENSOR_NAME = 63  # ggml's limit
_MOST_DIMENSIONS = 4
_MOST_TENSOR_ELEMENTS = 2**62
_DEFAULT_ALIGNMENT = 32

_STRING, _ARRAY = 8, 9
_SCALARS = {number: struct.Struct("<" + code) for number, code in enumerate("BbHhIif?")} | {
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


def read_header(path: Path, name: str = "") -> GGUFHeader:
    """Read and check the header of the GGUF file at `path`; `name` is for messages, else the
    file's own.

    Blocks for some tens of milliseconds at most.  Raises errors.InvalidModelFile for a file that
    is no GGUF, breaks the format or is shorter than its header says; OSError where it cannot be
    read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return read_open_header(descriptor, name or path.name)
    finally:
        os.close(descriptor)


def read_open_header(descriptor: int, name: str) -> GGUFHeader:
    """Read the header of an open file without moving its position; `name` is for the messages.

    Raises errors.InvalidModelFile.
    """
    return _Reader(descriptor, name).read()


class _Reader:
    """One pass over one header."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._bytes = GGUFBytes(descriptor, name)
        self._elements_left = _MOST_ELEMENTS
        self._keys_left = _MOST_KEY_BYTES
        self._kept_left = KEPT_BYTES
        self._metadata: dict[str, Value] = {}
        self._lengths: dict[str, int] = {}

    def read(self) -> GGUFHeader:
        version = self._preamble()
        tensor_count = self._bytes.count("tensors", _MOST_TENSORS, least_bytes=24)
        key_count = self._bytes.count("metadata keys", _MOST_KEYS, least_bytes=13)
        for _ in range(key_count):
            self._pair()
        tensors = self._tensors(tensor_count)
        header_bytes = self._bytes.position
        alignment = self._alignment()
        expected = self._check_extent(tensors, alignment)
        by_type: Counter[int] = Counter()
        for tensor in tensors:
            by_type[tensor.type] += tensor.elements
        return GGUFHeader(
            name=self._bytes.name,
            version=version,
            metadata=self._metadata,
            lengths=self._lengths,
            tensors=tensors,
            alignment=alignment,
            expected_bytes=expected,
            file_bytes=self._bytes.size,
            elements_by_type=by_type,
            header_bytes=header_bytes,
        )

    # the parts of a header

    def _preamble(self) -> int:
        magic = self._bytes.peek(4)
        if magic != b"GGUF":
            raise self._bytes.invalid(
                f"it is not a GGUF file: {_what_it_is(magic, self._bytes.size)}"
            )
        self._bytes.take(4)
        (version,) = _U32.unpack(self._bytes.take(4))
        if version & 0xFFFF == 0 and version:
            raise self._bytes.invalid(
                "it is written for big-endian machines; convert it for this one"
            )
        if version == 1:
            raise self._bytes.invalid(
                "it has GGUF version 1, which llama.cpp no longer reads; convert it again"
            )
        if version not in (2, 3):
            raise self._bytes.invalid(
                f"it has GGUF version {version}; versions 2 and 3 can be used"
            )
        return int(version)

    def _pair(self) -> None:
        key = self._bytes.string(_LONGEST_KEY, "a metadata key")
        self._keys_left -= len(key)
        if self._keys_left < 0:
            raise self._bytes.invalid(f"its metadata keys have more than {_MOST_KEY_BYTES} bytes")
        if not key or key in self._metadata or key in self._lengths:
            raise self._bytes.invalid(
                f"its metadata key {key[:80]!r} is empty or stands there twice"
            )
        (kind,) = _U32.unpack(self._bytes.take(4))
        if kind == _ARRAY:
            self._array(key)
        elif kind == _STRING:
            self._keep_string(key)
        else:
            self._metadata[key] = self._scalar(kind, key)

    def _keep_string(self, key: str) -> None:
        length = self._bytes.length(f"the value of {key[:80]!r}")
        if length > KEPT_STRING_BYTES or length > self._kept_left:
            self._bytes.skip(length)
            self._lengths[key] = length
        else:
            self._metadata[key] = self._text(length)

    def _text(self, length: int) -> str:
        self._kept_left -= length
        return self._bytes.take(length).decode(errors="replace")

    def _array(self, key: str) -> None:
        (kind,) = _U32.unpack(self._bytes.take(4))
        (count,) = _U64.unpack(self._bytes.take(8))
        if kind == _ARRAY:
            raise self._bytes.invalid(
                f"its metadata {key[:80]!r} is an array of arrays, which nothing reads"
            )
        if kind != _STRING and kind not in _SCALARS:
            raise self._bytes.invalid(f"its metadata {key[:80]!r} has the unknown type {kind}")
        self._elements_left -= count
        if self._elements_left < 0:
            raise self._bytes.invalid(
                f"its metadata arrays have more than {_MOST_ELEMENTS} elements"
            )
        self._lengths[key] = count
        self._elements(key, kind, count)

    def _elements(self, key: str, kind: int, count: int) -> None:
        if kind == _STRING and count <= KEPT_ELEMENTS:
            self._few_strings(key, count)
        elif kind == _STRING:
            self._bytes.skip_strings(count)
        elif count <= KEPT_ELEMENTS:
            self._metadata[key] = [self._scalar(kind, key) for _ in range(count)]
        else:
            self._bytes.skip(count * _SCALARS[kind].size)

    def _few_strings(self, key: str, count: int) -> None:
        """Keep an array of strings, or none of it where there is no room for all."""
        kept: list[Scalar] = []
        for number in range(count):
            length = self._bytes.length(f"an element of {key[:80]!r}")
            if length > KEPT_STRING_BYTES:
                raise self._bytes.invalid(
                    f"it claims that an element of {key[:80]!r} has {length} bytes;"
                    f" at most {KEPT_STRING_BYTES} are accepted"
                )
            if length > self._kept_left:
                self._bytes.skip(length)
                return self._bytes.skip_strings(count - number - 1)
            kept.append(self._text(length))
        self._metadata[key] = kept

    def _scalar(self, kind: int, key: str) -> Scalar:
        layout = _SCALARS.get(kind)
        if layout is None:
            raise self._bytes.invalid(f"its metadata {key[:80]!r} has the unknown type {kind}")
        value: Scalar = layout.unpack(self._bytes.take(layout.size))[0]
        return value

    def _tensors(self, count: int) -> tuple[Tensor, ...]:
        tensors = tuple(self._tensor() for _ in range(count))
        if len({tensor.name for tensor in tensors}) != count:
            raise self._bytes.invalid("two of its tensors have the same name")
        return tensors

    def _tensor(self) -> Tensor:
        name = self._bytes.string(_LONGEST_TENSOR_NAME, "a tensor's name")
        (dimensions,) = _U32.unpack(self._bytes.take(4))
        if not 1 <= dimensions <= _MOST_DIMENSIONS:
            raise self._bytes.invalid(
                f"its tensor {name!r} has {dimensions} dimensions; 1 to 4 are possible"
            )
        shape = struct.unpack(f"<{dimensions}Q", self._bytes.take(8 * dimensions))
        kind, offset = struct.unpack("<IQ", self._bytes.take(12))
        if math.prod(shape) > _MOST_TENSOR_ELEMENTS:
            raise self._bytes.invalid(f"its tensor {name!r} has an impossible shape")
        return Tensor(name, shape, kind, offset, self._tensor_bytes(name, shape, kind))

    def _tensor_bytes(self, name: str, shape: tuple[int, ...], kind: int) -> int | None:
        layout = TENSOR_TYPES.get(kind)
        if layout is None:
            return None  # a type newer than this table: llama.cpp may well know it
        if shape[0] % layout.block:
            raise self._bytes.invalid(
                f"its tensor {name!r} has rows that are not whole {layout.name} blocks"
            )
        return math.prod(shape) // layout.block * layout.block_bytes

    def _alignment(self) -> int:
        value = self._metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
        if (
            not isinstance(value, int)
            or isinstance(value, bool)
            or value < 1
            or value & (value - 1)
        ):
            raise self._bytes.invalid("its general.alignment is not a power of two")
        return value

    def _check_extent(self, tensors: tuple[Tensor, ...], alignment: int) -> int:
        end = self._bytes.position
        if not tensors:
            return end
        start = -(-end // alignment) * alignment
        for tensor in tensors:
            if tensor.offset % alignment:
                raise self._bytes.invalid(
                    f"its tensor {tensor.name!r} does not begin on the file's alignment"
                )
            end = max(end, start + tensor.offset + (tensor.nbytes or 0))
        if end > self._bytes.size:
            raise self._bytes.truncated(end)
        return end


def _what_it_is(magic: bytes, size: int) -> str:
    if size == 0:
        return "it is empty"
    if magic.lstrip()[:1] in (b"<", b"{"):
        return "it looks like a web page or JSON, perhaps an error page saved under this name"
    if magic[:4] in (b"ggml", b"ggjt", b"lmgg", b"tjgg"):
        return "it has the older GGML format, which has to be converted"
    if magic[:4] == b"vers":
        return "it is a Git LFS pointer; run `git lfs pull` where it came from"
    return f"it begins with {magic[:4].decode('latin-1')!r} instead of 'GGUF'"
