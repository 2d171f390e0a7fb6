"""Files of the user's: read as they are, and their troubles told as the user's errors."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from runnerd.errors import Forbidden, InvalidModelFile, NotFound, RunnerdError
from runnerd.models.given_files import open_untouched, readable


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (FileNotFoundError(errno.ENOENT, "none"), NotFound),
        (PermissionError(errno.EACCES, "no"), Forbidden),
        (OSError(errno.EIO, "Input/output error"), InvalidModelFile),
        (ValueError("embedded null byte"), InvalidModelFile),
        (RuntimeError("Symlink loop"), InvalidModelFile),
    ],
)
def test_troubles_name_the_file(trouble: Exception, error: type[RunnerdError]) -> None:
    """Each says which file it was."""
    with pytest.raises(error, match=r"/a/m\.gguf"), readable(Path("/a/m.gguf")):
        raise trouble


def test_what_the_daemon_lacks_is_not_the_users_fault() -> None:
    """Descriptors that have run out are told as what they are."""
    with pytest.raises(OSError, match="Too many"), readable(Path("/a")):
        raise OSError(errno.EMFILE, "Too many open files")


def test_reading_leaves_no_time(tmp_path: Path) -> None:
    """When a file was last read stays as it was, and a link is not followed."""
    path = tmp_path / "m.gguf"
    path.write_bytes(b"x")
    os.utime(path, (1, 1))
    descriptor = open_untouched(path)
    try:
        assert os.read(descriptor, 1) == b"x"
    finally:
        os.close(descriptor)
    assert path.stat().st_atime == 1
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(OSError, match="symbolic links"):
        open_untouched(tmp_path / "link")
