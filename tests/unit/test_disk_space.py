"""What fits on the store's disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from runnerd.errors import InsufficientStorage
from runnerd.models import disk_space
from runnerd.models.disk_space import allocated_bytes, check_space, reserve

MIB = 2**20


def test_some_is_always_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes and logs need room when the models have taken everything else."""
    monkeypatch.setattr(disk_space, "free_bytes", lambda folder: 100 * MIB)
    check_space(tmp_path, 84 * MIB)
    with pytest.raises(InsufficientStorage, match=r"84\.0 MiB|100\.0 MiB|runnerd rm"):
        check_space(tmp_path, 84 * MIB + 1)


def test_a_disk_that_cannot_be_asked(tmp_path: Path) -> None:
    """It is told as a failure of the store, not of the program."""
    with pytest.raises(Exception, match="model") as caught:
        check_space(tmp_path / "absent", 1)
    assert not isinstance(caught.value, OSError)


def test_what_a_file_takes(tmp_path: Path) -> None:
    """Blocks, not its length; nothing where there is none."""
    path = tmp_path / "file"
    assert allocated_bytes(path) == 0
    with open(path, "wb") as file:
        file.truncate(100 * MIB)
    assert allocated_bytes(path) < MIB


@pytest.mark.parametrize(
    ("code", "raises"),
    [(errno.EOPNOTSUPP, False), (errno.EINVAL, False), (errno.ENOSYS, False),
     (errno.ENOSPC, True), (errno.EIO, True)],
)  # fmt: skip
def test_claiming_space(code: int, raises: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that cannot is no failure; a full one is."""

    def refused(*_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", refused)
    reserve(-1, 0)  # nothing to claim
    if raises:
        with pytest.raises(OSError, match=os.strerror(code)):
            reserve(-1, 1)
    else:
        reserve(-1, 1)
