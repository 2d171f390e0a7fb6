"""Hands local files to a daemon that cannot read them: another user's, or another host's.

The files go out as one archive while they are read, so that their size does not matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from runnerd.cli.client import Client
from runnerd.cli.model_paths import tag_query
from runnerd.cli.progress import Display, follow
from runnerd.models.intake import Progress
from runnerd.models.packing import Packed, pack_files
from runnerd.models.reference import parse_tag
from runnerd.models.sources import default_reference

_PIECE_BYTES = 2**20


def send(
    client: Client,
    path: Path,
    *,
    mmproj: Path | None,
    chat_template: Path | None,
    tag: str | None,
    check: Callable[[str], None],
    shown: Display,
) -> dict[str, Any]:
    """Send a model, name it, and return its document; `check` sees to it that a name that nobody
    has said is free, before anything is sent.

    Raises DaemonError, errors.InvalidModelFile, NotFound, Forbidden.
    """

    def hashed(progress: Progress) -> None:
        shown.advance(f"reading {progress.layer}", progress.layer_current, progress.layer_size)

    with asyncio.Runner() as runner:
        packed = runner.run(
            pack_files([path], mmproj=mmproj, chat_template=chat_template, progress=hashed)
        )
        with packed:
            if tag is None:
                check(tag := str(packed.default_tag))
            headers = {"Content-Type": "application/x-tar", "Content-Length": str(packed.size)}
            body = _chunks(runner, packed, shown)
            with client.open("POST", "/models/load", headers=headers, body=body) as response:
                model = follow(response, shown)["model"]
    client.json("POST", f"/models/{model['id']}/tag?{tag_query(tag)}")
    return dict(client.json("GET", f"/models/{model['id']}"))


def default_name(path: Path) -> str:
    """What a model from an archive is called where nobody says it: as the file.

    Raises errors.InvalidReference.
    """
    return str(default_reference(path.stem))


def send_archive(client: Client, path: Path, *, tag: str, shown: Display) -> dict[str, Any]:
    """Send an archive with a model, name that, and return its document.

    Raises DaemonError, errors.InvalidReference, OSError.
    """
    name = str(parse_tag(tag))
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        headers = {"Content-Type": "application/x-tar", "Content-Length": str(size)}
        body = _pieces(file, size, shown)
        with client.open("POST", "/models/load", headers=headers, body=body) as response:
            model = follow(response, shown)["model"]
    client.json("POST", f"/models/{model['id']}/tag?{tag_query(name)}")
    return dict(client.json("GET", f"/models/{model['id']}"))


def _pieces(file: BinaryIO, size: int, shown: Display) -> Iterator[bytes]:
    sent = 0
    while piece := file.read(_PIECE_BYTES):
        yield piece
        sent += len(piece)
        shown.advance("sending", sent, size)


def _chunks(runner: asyncio.Runner, packed: Packed, shown: Display) -> Iterator[bytes]:
    """Yield the archive from a loop that turns only while a chunk is wanted."""
    chunks, sent = packed.chunks(), 0
    with contextlib.suppress(StopAsyncIteration):
        while True:
            chunk = runner.run(_next(chunks))
            sent += len(chunk)
            yield chunk
            shown.advance("sending", sent, packed.size)


async def _next(chunks: AsyncIterator[bytes]) -> bytes:
    return await anext(chunks)
