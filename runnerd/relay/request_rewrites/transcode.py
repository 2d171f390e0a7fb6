"""WebP images, which Ollama's clients may send and llama-server cannot read, put into JPEG.

Decoders of images have a record of holes, and these come from strangers: a process of its own does
it (`transcode_process`), under the rules for engines, one at a time and in fair turns, with bounded
memory, time and size.  Only bodies for models that see are searched, and only where images stand.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from runnerd import threads
from runnerd.backends.commands import run_command
from runnerd.backends.sandbox import Sandbox
from runnerd.durable import storage_errors
from runnerd.errors import ClientError, PayloadTooLarge
from runnerd.limit_settings import Limits
from runnerd.regular import set_aside
from runnerd.relay.body import Body
from runnerd.relay.fair_turns import FairTurns
from runnerd.relay.image_cost import webp_pixels
from runnerd.relay.request_rewrites import transcode_process
from runnerd.threads import Stop, run_stoppable

_RIFF = b"UklGR"  # base64; the containers of other formats begin with it as well
# Where images stand: in a data URI, in Anthropic's `data`, in Ollama's list.
_BEFORE = re.compile(rb'(?:base64,|"data"\s*:\s*"|[\[,]\s*")\Z')
_BEFORE_BYTES = 64
_HEAD = 24  # characters that tell the format
_SIZE = 96  # and those that tell the size as well, slashes escaped
_WEBP = b"WEBP"
_TIMEOUT = 60.0
_MOST_WAITING = 16  # requests of one principal; each holds its body meanwhile


class ImageTranscoder:
    """Puts WebP images into JPEG, for one request at a time: the next is of the principal who has
    had least of it.

    `folder` is its own, what is in it is of a daemon that is no more; `limits` bound the pixels
    that it reads, before it reads any, and what it makes of a body.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits
        self._turns = FairTurns("the transcoding of images", _MOST_WAITING)
        _clear(folder)

    @staticmethod
    def wanted(body: Body) -> bool:
        """Return whether a body has such images."""
        return _RIFF in body and next(_images(body), None) is not None

    async def transcoded(self, body: Body, principal: str) -> bytes:
        """Return the body of a principal's request with other images in it.

        Raises errors.ClientError, PayloadTooLarge, Overloaded, InsufficientStorage, BackendFailure.
        """
        async with self._turns.turn(principal):
            try:
                with storage_errors("the folder for images"):
                    changed = await self._changed(body)
            finally:
                await threads.run_to_end(shutil.rmtree, self._folder, ignore_errors=True)
        return changed

    async def _changed(self, body: Body) -> bytes:
        folder = self._folder
        most = self._limits.body_bytes
        images = await run_stoppable(lambda stop: _write(body, folder, self._limits, stop))
        script = Path(transcode_process.__file__)
        argv = [sys.executable, "-I", str(script), str(folder), str(most)]
        sandbox = Sandbox(reads=(script,), writes=(folder,))
        result = await run_command(argv, timeout=_TIMEOUT, sandbox=sandbox)
        if result.code != 0:
            reason = result.output.strip().rpartition("\n")[2] or result.reason
            raise ClientError(f"a WebP image in the request cannot be used: {reason}")
        return await run_stoppable(lambda stop: _replaced(body, images, folder, most, stop))


def _clear(folder: Path) -> None:
    """Remove what is in a folder, and move away what is none; a link would lead elsewhere."""
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)
    elif os.path.lexists(folder):
        with contextlib.suppress(OSError):
            set_aside(folder)


def _images(body: Body) -> Iterator[slice]:
    """Yield where the images are, as base64 text."""
    start = body.find(_RIFF)
    while start >= 0 and (end := body.find(b'"', start)) >= 0:
        if _BEFORE.search(body[max(0, start - _BEFORE_BYTES) : start]):
            if _bytes(body[start : start + _HEAD])[8:12] == _WEBP:
                yield slice(start, end)
        start = body.find(_RIFF, end)


def _bytes(text: Body) -> bytes:
    """What base64 text of a JSON string stands for, b"" where it is none."""
    plain = bytes(text).replace(rb"\/", b"/").rstrip(b"\\")  # JSON may escape it, and be cut there
    try:
        return base64.b64decode(plain[: len(plain) // 4 * 4], validate=True)
    except binascii.Error:
        return b""


def _write(body: Body, folder: Path, limits: Limits, stop: Stop) -> list[slice]:
    """Write the images of a body, once they are known to be no more than one may have.

    Raises errors.ClientError, PayloadTooLarge.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    images = list(_images(body))
    if len(images) > limits.images:
        raise PayloadTooLarge(f"more than {limits.images} images", param="image_url")
    pixels = 0
    for found in images:
        pixels += _pixels(_bytes(body[found.start : found.start + _SIZE]))
        if pixels > limits.image_pixels:
            raise PayloadTooLarge(
                f"the images have more than {limits.image_pixels} pixels in all", param="image_url"
            )
    for number, found in enumerate(images):
        stop.check()
        (folder / f"{number}.webp").write_bytes(_bytes(body[found]))
    return images


def _pixels(head: bytes) -> int:
    """How many pixels a WebP has.  Raises errors.ClientError for more than one image may have."""
    try:
        pixels = webp_pixels(head)
    except struct.error:
        return 0  # whoever decodes it says that it is cut
    if pixels > transcode_process.MOST_PIXELS:
        raise ClientError(
            f"a WebP image in the request cannot be used: {transcode_process.TOO_MANY}"
        )
    return pixels


def _replaced(body: Body, images: list[slice], folder: Path, most: int, stop: Stop) -> bytes:
    """The body with other images.  Raises errors.PayloadTooLarge."""
    drawn = [folder / f"{number}.jpeg" for number in range(len(images))]
    size = len(body) - sum(found.stop - found.start for found in images)
    if size + sum(-(-path.stat().st_size // 3) * 4 for path in drawn) > most:
        raise PayloadTooLarge(f"with its WebP images as JPEG the request body exceeds {most} bytes")
    pieces, end = [], 0
    for number, found in enumerate(images):
        stop.check()
        pieces += [body[end : found.start], base64.b64encode(drawn[number].read_bytes())]
        end = found.stop
    return b"".join([*pieces, body[end:]])
