"""Blobs that somebody is using."""

from __future__ import annotations

import os
from pathlib import Path
from threading import RLock
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runnerd.models.claims import BlobClaims
from runnerd.models.digest import Digest
from runnerd.models.layout import Layout

CONTENT = b"content"
DIGEST = Digest.of(CONTENT)


class Kept:
    """Claims on the blobs of a folder, and when those were stored."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.layout.create()
        self.stamps: dict[Digest, int] = {}
        ledger = cast(Any, SimpleNamespace(stamps=self.stamps))
        self.claims = BlobClaims(self.layout, ledger, RLock())

    def store(self) -> Path:
        path = self.layout.blob(DIGEST)
        path.write_bytes(CONTENT)
        self.stamps[DIGEST] = path.stat().st_mtime_ns
        return path


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "models")


def test_a_blob_that_is_here(kept: Kept) -> None:
    """It is found where it lies, with its size."""
    path = kept.store()
    found = kept.claims.claim(DIGEST)
    assert found is not None
    assert (found.temporary, found.digest, found.size) == (path, DIGEST, len(CONTENT))


def test_what_was_touched_is_not_here(kept: Kept) -> None:
    """It is fetched again, and claimed all the same."""
    os.utime(kept.store(), ns=(0, 0))
    assert kept.claims.claim(DIGEST) is None
    assert kept.claims.digests() == {DIGEST}


def test_what_is_not_here_yet_can_be_claimed(kept: Kept) -> None:
    """So that it stays once it comes; each claim is ended by itself."""
    assert kept.claims.claim(DIGEST) is None
    kept.store()
    assert kept.claims.claim(DIGEST) is not None
    kept.claims.disclaim(DIGEST)
    assert kept.claims.digests() == {DIGEST}
    kept.claims.disclaim(DIGEST)
    assert kept.claims.digests() == set()


@pytest.mark.parametrize("intact", [True, False])
def test_a_borrowed_file_is_claimed_where_it_lies(kept: Kept, intact: bool) -> None:
    """If it looks as it did; a blob of the store's own beside it is not asked for."""
    borrowed = SimpleNamespace(path="/somebody/file.gguf", size=7, is_intact=lambda: intact)
    kept.store()
    kept.layout.borrowed = cast(Any, {DIGEST: borrowed})
    found = kept.claims.claim(DIGEST)
    assert (found is not None) is intact
    if found is not None:
        assert found.temporary == Path("/somebody/file.gguf")
