"""Reads a model from a tar archive, as it arrives, believing nothing.

The forms are Docker Model Runner's, `blobs/sha256/<hex>` for every blob and then `manifest.json`,
and the OCI image layout of one model, whose `index.json` says which blob is the manifest (and
`oci-layout` that it is one).  Exactly these names and regular files are accepted, so there is
nothing in an archive that could name another place: no links, devices, absolute paths or `..`.
Every blob is hashed while it is written to a temporary file of the intake; what the archive claims
is never used as anything but a number to be held to.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass

import msgspec

from runnerd import threads
from runnerd.durable import storage_errors
from runnerd.errors import InvalidModelFile, InvalidReference
from runnerd.models.blob_writer import BlobWriter
from runnerd.models.digest import Digest
from runnerd.models.intake import Intake
from runnerd.models.manifest import MOST_BYTES, MOST_LAYERS
from runnerd.regular import read

BLOCK = tarfile.BLOCKSIZE

_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_FOLDERS = ("blobs", "blobs/sha256")
_MANIFEST, _INDEX = "manifest.json", "index.json"
_TEXTS = (_MANIFEST, _INDEX, "oci-layout")
_MOST_ENTRIES = MOST_LAYERS + 16
_LONGEST_EXTENSION = 64 * 2**10
_BATCH_BYTES = 2**20  # handed to a thread at once
_LONGEST_END = 2**20  # of zeros after the last entry


class _Entry(msgspec.Struct):
    digest: str


class _Index(msgspec.Struct):
    manifests: list[_Entry]


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    size: int
    type: bytes


async def unpack(chunks: AsyncIterator[bytes], intake: Intake) -> bytes:
    """Take the blobs of the archive into `intake` and return the manifest's bytes, not parsed yet.

    Raises errors.InvalidModelFile for an archive that breaks a rule, InsufficientStorage.
    """
    stream = _Stream(chunks)
    texts: dict[str, bytes] = {}
    for _ in range(_MOST_ENTRIES):
        member = await _next_member(stream)
        if member is None:
            break
        if member.name in _TEXTS and member.name not in texts:
            texts[member.name] = await stream.exactly(_bounded(member, MOST_BYTES))
        elif match := _BLOB.fullmatch(member.name):
            await _receive(stream, Digest(match[1]), member.size, intake)
        elif member.type != tarfile.DIRTYPE:
            raise _refused(f"the entry {member.name[:120]!r} has no place in a model archive")
        await stream.exactly(-member.size % BLOCK)
    else:
        raise _refused(f"it has more than {_MOST_ENTRIES} entries")
    if _MANIFEST in texts:
        return texts[_MANIFEST]
    if _INDEX in texts:
        return await threads.run(_indexed, texts[_INDEX], intake)
    raise _refused("it has no manifest.json; is it a model archive?")


def _indexed(raw: bytes, intake: Intake) -> bytes:
    """The manifest that the index of an image layout names."""
    try:
        entries = msgspec.json.decode(raw, type=_Index).manifests
        digests = [Digest.parse(entry.digest) for entry in entries]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidReference) as error:
        raise _refused("its index.json cannot be read") from error
    if len(digests) != 1:
        raise _refused(f"its index.json names {len(digests)} models; one can be taken")
    if (found := intake.blobs.get(digests[0])) is None:
        raise _refused(f"it lacks the manifest {digests[0].short} that its index.json names")
    if found.size > MOST_BYTES:
        raise _refused(f"its manifest has {found.size} bytes; at most {MOST_BYTES} can be")
    with storage_errors("the store of models"):
        return read(found.temporary, most=MOST_BYTES)


async def _receive(stream: _Stream, digest: Digest, size: int, intake: Intake) -> None:
    if digest in intake.blobs:
        raise _refused(f"it has the blob {digest.short} twice")
    name = str(digest)
    writer = await threads.run_or_close(lambda: intake.writer(name, size))
    with closing(writer):
        left = size
        while left:
            batch = await stream.some(min(left, _BATCH_BYTES))
            left -= len(batch)
            await _write(writer, batch)
            intake.progressed(name, size, size - left)
        pending = await threads.run(intake.finish, writer)
    if pending.digest != digest:
        raise _refused(f"the content of the blob {digest.short} does not match its name")


async def _write(writer: BlobWriter, batch: bytes) -> None:
    await threads.run(writer.write, batch)


async def _next_member(stream: _Stream) -> _Member | None:
    """Return the next entry that is a file or a known folder, None at the end."""
    extension: dict[str, str] = {}
    while True:
        block = await stream.exactly(BLOCK, end_allowed=not extension)
        if not block.strip(b"\0"):
            await stream.drain_zeros()
            return None
        member = _parse(block)
        if member.type in (tarfile.XHDTYPE, tarfile.XGLTYPE):
            content = await stream.exactly(_bounded(member, _LONGEST_EXTENSION))
            await stream.exactly(-member.size % BLOCK)
            if member.type == tarfile.XHDTYPE:
                extension = _extension(content)
            continue
        return _checked(_extended(member, extension))


def _parse(block: bytes) -> _Member:
    try:
        found = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.TarError, ValueError) as error:
        raise _refused(f"it is not a tar archive or damaged ({error})") from error
    return _Member(found.name, found.size, found.type)


def _extended(member: _Member, extension: dict[str, str]) -> _Member:
    """Apply an extended header, which writers use for sizes of 8 GiB and more."""
    size = extension.get("size", str(member.size))
    if not re.fullmatch(r"[0-9]{1,18}", size):
        raise _refused("an entry has an impossible size")
    return _Member(extension.get("path", member.name), int(size), member.type)


def _checked(member: _Member) -> _Member:
    if member.type == tarfile.DIRTYPE and member.name.rstrip("/") in _FOLDERS and not member.size:
        return member
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.size < 0:
        raise _refused(f"the entry {member.name[:120]!r} is not a regular file")
    return member


def _extension(content: bytes) -> dict[str, str]:
    """Return the records `LENGTH KEY=VALUE\\n` of an extended header."""
    found: dict[str, str] = {}
    while content:
        digits, _, _ = content[:8].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        record = content[len(digits) + 1 : length]
        key, separator, value = record.partition(b"=")
        if not separator or not record.endswith(b"\n") or length > len(content):
            raise _refused("it has a damaged extended header")
        found[key.decode(errors="replace")] = value[:-1].decode(errors="replace")
        content = content[length:]
    return found


def _bounded(member: _Member, most: int) -> int:
    if not 0 <= member.size <= most:
        raise _refused(
            f"the entry {member.name[:120]!r} has {member.size} bytes; at most {most} can be"
        )
    return member.size


def _refused(reason: str) -> InvalidModelFile:
    return InvalidModelFile(f"the archive cannot be used: {reason}")


class _Stream:
    """Cuts what arrives into the pieces that are wanted."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = bytearray()

    async def exactly(self, length: int, *, end_allowed: bool = False) -> bytes:
        """Return `length` bytes; zeros at a clean end where that is allowed."""
        while len(self._buffer) < length and await self._more():
            pass
        if len(self._buffer) < length:
            if end_allowed and not self._buffer:
                return bytes(length)
            raise _refused("it is truncated")
        return self._cut(length)

    async def some(self, most: int) -> bytes:
        """Return between 1 and `most` bytes, preferably `most`."""
        while len(self._buffer) < most and await self._more():
            pass
        if not self._buffer:
            raise _refused("it is truncated")
        return self._cut(min(most, len(self._buffer)))

    async def drain_zeros(self) -> None:
        """Read to the end, where only padding may follow."""
        length = 0
        while True:
            length += len(self._buffer)
            if self._buffer.strip(b"\0") or length > _LONGEST_END:
                raise _refused("something follows its end")
            self._buffer.clear()
            if not await self._more():
                return

    async def _more(self) -> bool:
        try:
            self._buffer += await anext(self._chunks)
        except StopAsyncIteration:
            return False
        return True

    def _cut(self, length: int) -> bytes:
        piece = bytes(memoryview(self._buffer)[:length])
        del self._buffer[:length]
        return piece
