"""Files of the user's, opened without a trace; what keeps them from being read is said plainly."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runnerd.errors import Forbidden, InvalidModelFile, NotFound


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what the file system says about a file of the user's into an error for the user."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}", param="path") from error
    except PermissionError as error:
        raise Forbidden(f"{path} cannot be read: permission denied", param="path") from error
    except (OSError, ValueError, RuntimeError) as error:  # loops, NUL bytes, I/O errors
        reason = error.strerror if isinstance(error, OSError) else str(error)
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        raise InvalidModelFile(f"{path} cannot be read: {reason}", param="path") from error


def open_untouched(path: Path) -> int:
    """Open a file of somebody's for reading, without a trace that it was read where that goes."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_NOATIME)
    except PermissionError:  # who does not own a file may not ask for that
        return os.open(path, flags)
