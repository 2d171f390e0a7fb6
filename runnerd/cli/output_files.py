"""Files that commands write: none that is there is overwritten unasked, and none is ever half.

What is written has another name until all of it is there, beside the file that it becomes.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from runnerd.errors import ClientError, Conflict


def check_output(file: Path, *, force: bool) -> None:
    """See that a file may be written: it is new, `--force` says so, or somebody answers so.

    To be called before anything is asked for that takes long.  Raises errors.ClientError, Conflict.
    """
    if file.is_dir():
        raise ClientError(f"{file} is a folder; name a file")
    if not file.absolute().parent.is_dir():
        raise ClientError(f"{file.parent} is not a folder that is there")
    if not os.path.lexists(file):
        return
    if not file.is_file():
        raise ClientError(f"{file} is no regular file")
    if force:
        return
    if sys.stdin.isatty() and sys.stderr.isatty():
        print(f"{file} is there already. Overwrite it? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return
        raise SystemExit(1)
    raise Conflict(f"{file} is there already; --force overwrites it")


@contextlib.contextmanager
def output_file(file: Path, *, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A file to write, which has its name, and is on the disk, once the block has ended well."""
    part = file.with_name(f".{file.name[:100]}.part-{os.getpid()}")
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    try:
        with open(os.open(part, flags, mode), "wb") as target:
            yield target
            target.flush()
            os.fsync(target.fileno())
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
