"""runnerd.durable and who writes through it, on a disk that is full at the worst moment."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runnerd import durable
from runnerd.backends.configuration import BackendMode
from runnerd.configurations import ConfigurationKey, Configurations
from runnerd.errors import InsufficientStorage
from runnerd.models import tiny
from runnerd.models.store import Store

KEY = ConfigurationKey("llama.cpp", "sha256:x", BackendMode.COMPLETION)


@contextmanager
def full_disk(call: str, *, unless: Path | None = None) -> Iterator[None]:
    """Let a system call fail for lack of space, as long as `unless` exists."""
    original = getattr(os, call)

    def failing(*arguments: object) -> object:
        if unless is None or unless.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, call, failing)
        yield


def test_replace(tmp_path: Path) -> None:
    """The new content is there, with the mode, and nothing else; a left-over is no obstacle."""
    (tmp_path / "f.new").write_text("from a crash")
    durable.replace(tmp_path / "f", b"1")
    durable.replace(tmp_path / "f", b"2", mode=0o600)
    assert (tmp_path / "f").read_bytes() == b"2"
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [tmp_path / "f"]


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_full_disk_keeps_the_old_file(call: str, tmp_path: Path) -> None:
    """The error names the remedy, the file is the old one, and no other is left."""
    durable.replace(tmp_path / "f", b"old")
    with full_disk(call), pytest.raises(InsufficientStorage, match="runnerd rm"):
        durable.replace(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [tmp_path / "f"]


async def test_a_configuration_that_cannot_be_kept_is_not_in_force(tmp_path: Path) -> None:
    """Neither setting nor forgetting half happens."""
    configurations = Configurations(tmp_path / "c.json")
    await configurations.set(KEY, {"context-size": 1024})
    with full_disk("fsync"):
        with pytest.raises(InsufficientStorage):
            await configurations.set(KEY, {"context-size": 2048})
        await configurations.forget(KEY.model)
    again = Configurations(tmp_path / "c.json")
    again.open()
    for found in (configurations, again):
        effective, _ = found.effective(KEY.backend, KEY.model, KEY.mode)
        assert effective.context_size == 1024


async def test_a_model_can_be_removed_from_a_full_disk(tmp_path: Path) -> None:
    """The space that this takes was held back, and is again afterwards."""
    tiny.write_completion_model(tmp_path / "tiny.gguf")
    store = Store(tmp_path / "store")
    store.open()
    await store.entrance.import_files([tmp_path / "tiny.gguf"], tag="m")
    spare = tmp_path / "store" / "spare"
    with full_disk("fsync", unless=spare):
        with pytest.raises(InsufficientStorage):
            store.names.tag("m", "other")
        store.names.remove("m")
        assert store.list() == []
        Store(tmp_path / "store").open()  # forgets the removed blob's stamp
    assert not list((tmp_path / "store" / "blobs" / "sha256").iterdir())
    assert spare.stat().st_size > 0
