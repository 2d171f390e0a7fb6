"""RelayDependencies on disk: what a journal may claim, and what survives."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.errors import Conflict, InsufficientStorage, SourceFailure, StorageFailure
from runnerd.models import disk_space, parts
from runnerd.models.digest import Digest
from runnerd.models.disk_space import allocated_bytes
from runnerd.models.layout import Layout
from runnerd.models.part_journal import PIECE_BYTES
from runnerd.models.parts import Part
from runnerd.models.parts_folder import sweep
from runnerd.models.store import Store

KEY = Digest("a" * 64)
SIZE = 2 * PIECE_BYTES + 100
BLOCK = 64 * 2**10  # as much as a file system may take for a hundred bytes


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An empty store's folders."""
    layout = Layout(tmp_path / "store")
    layout.create()
    return layout


def opened(layout: Layout) -> Part:
    """Return an open part."""
    part = Part(layout, KEY)
    part.open()
    return part


def put(part: Part, number: int, data: bytes) -> None:
    """Write to a piece."""
    part.write(part.pieces[number], data)
    part.wrote(part.pieces[number], len(data))


def test_taken_up_where_the_journal_says(layout: Layout) -> None:
    """What was noted is there again; what was written afterwards is not counted on."""
    part = opened(layout)
    part.begin(SIZE, '"v"')
    put(part, 1, b"x" * 1000)
    part.write_journal()
    put(part, 0, b"y" * 10)
    part.close()
    assert part.path.stat().st_size == PIECE_BYTES + 1000  # the rest's space was given back
    again = opened(layout)
    assert (again.size, again.validator, again.received) == (SIZE, '"v"', 1000)
    assert [piece.at - piece.start for piece in again.pieces] == [0, 1000, 0]
    assert allocated_bytes(again.path) < SIZE  # a journal alone claims nothing
    again.resume()
    assert allocated_bytes(again.path) >= SIZE
    again.close()


def test_digest_follows_the_front(layout: Layout) -> None:
    """Only the unbroken beginning is hashed, and the whole in the end."""
    part = opened(layout)
    part.begin(4, '"v"')
    assert (part.front, part.behind) == (0, 0)
    put(part, 0, b"ab")
    assert (part.front, part.behind, part.complete) == (2, 2, False)
    part.hash_on()
    put(part, 0, b"cd")
    part.hash_on()
    assert part.complete
    pending = part.finish(Digest.of(b"abcd"))
    assert pending.temporary.read_bytes() == b"abcd"
    assert pending.temporary.stat().st_mode & 0o777 == 0o440
    part.close()


def test_disk_that_fails(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed sync nothing of the file is trusted or kept."""

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    part = opened(layout)
    part.begin(4, '"v"')
    put(part, 0, b"abcd")
    part.hash_on()
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StorageFailure, match="failed"):
        part.finish(Digest.of(b"abcd"))
    assert list(layout.parts.iterdir()) == []


def test_more_than_a_piece_takes_is_refused(layout: Layout) -> None:
    """A server cannot write beyond what it was asked for."""
    part = opened(layout)
    part.begin(4, '"v"')
    with pytest.raises(SourceFailure, match="more than"):
        put(part, 0, b"abcde")
    part.remove()


def test_part_has_one_owner(layout: Layout) -> None:
    """A second one is refused, and a sweep leaves an open part alone."""
    part = opened(layout)
    with pytest.raises(Conflict):
        opened(layout)
    assert sweep(layout, age=0) == 0
    part.close()
    sweep(layout, age=0)
    assert list(layout.parts.iterdir()) == []


def test_size_beyond_the_disk(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot fit leaves nothing."""
    monkeypatch.setattr(disk_space, "free_bytes", lambda folder: SIZE - 1)
    part = opened(layout)
    with pytest.raises(InsufficientStorage):
        part.begin(SIZE, '"v"')
    assert list(layout.parts.iterdir()) == []


def test_symbolic_link_in_place_of_a_part(layout: Layout, tmp_path: Path) -> None:
    """A link that somebody put there is moved away and not followed."""
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    target.chmod(0o644)
    before = target.stat()
    layout.part(KEY).symlink_to(target)
    opened(layout).close()
    assert not layout.part(KEY).is_symlink()
    assert target.read_bytes() == b"precious"
    assert target.stat().st_mode == before.st_mode


@pytest.mark.parametrize("step", ["read_journal", "check_space", "cut_into_pieces"])
def test_interrupted_opening_gives_the_lock_back(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A part whose opening was broken off, wherever it was, can be opened again."""
    part = opened(layout)
    part.begin(SIZE, '"v"')
    put(part, 0, b"x" * 1000)
    part.write_journal()
    part.close()

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(parts, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            opened(layout)
    again = opened(layout)
    assert again.received == 1000
    again.close()


def test_interrupted_locking_leaves_no_descriptor(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was opened to be locked is closed, whatever breaks the locking off."""

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    before = os.listdir("/proc/self/fd")
    with monkeypatch.context() as patch:
        patch.setattr("os.path.samestat", interrupt)
        with pytest.raises(KeyboardInterrupt):
            opened(layout)
    assert os.listdir("/proc/self/fd") == before


def test_journal_of_another_file(layout: Layout) -> None:
    """Where the file's size is known, a journal that names another one is not followed."""
    part = opened(layout)
    part.begin(SIZE, '"v"')
    put(part, 0, b"x" * 1000)
    part.write_journal()
    part.close()
    again = Part(layout, KEY)
    again.open(SIZE + 1)
    assert (again.size, again.received, again.path.stat().st_size) == (None, 0, 0)
    again.remove()


def test_resuming_beyond_the_quota(layout: Layout) -> None:
    """A part that may not go on keeps what it has."""

    def refuse(size: int) -> None:
        raise InsufficientStorage("too much")

    part = opened(layout)
    part.begin(SIZE, '"v"')
    put(part, 0, b"x" * 1000)
    part.write_journal()
    part.close()
    again = Part(layout, KEY, refuse)
    again.open(SIZE)
    with pytest.raises(InsufficientStorage):
        again.resume()
    assert again.received == 1000
    assert allocated_bytes(again.path) < SIZE
    again.close()


def test_quota_counts_what_is_unfinished(tmp_path: Path) -> None:
    """Another download's bytes count, and a download's own do not count twice."""
    store = Store(tmp_path / "models", quota_bytes=3 * SIZE)
    store.open()
    first, second = store.entrance.part(KEY), store.entrance.part(Digest.of(b"another"))
    first.open(2 * SIZE)
    first.begin(2 * SIZE, '"v"')
    second.open(2 * SIZE)
    with pytest.raises(InsufficientStorage, match="unfinished downloads"):
        second.begin(2 * SIZE, '"v"')
    put(first, 0, b"x" * 1000)
    first.write_journal()
    first.close()
    again = store.entrance.part(KEY)
    again.open(2 * SIZE)
    again.resume()
    again.remove()
    second.open(2 * SIZE)
    second.begin(2 * SIZE, '"v"')
    second.remove()


_NUMBERS = st.integers(-(2**63), 2**63)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.builds(
            lambda size, piece, filled: msgspec.json.encode(
                {"size": size, "validator": "v", "piece_bytes": piece, "filled": filled}
            ),
            st.one_of(_NUMBERS, st.integers(0, 2**38), st.just(SIZE)),
            st.one_of(_NUMBERS, st.just(PIECE_BYTES)),
            st.dictionaries(st.integers(-1, 4), st.integers(-1, 2 * PIECE_BYTES), max_size=3),
        ),
    )
)
def test_journal_that_was_tampered_with(layout: Layout, journal: bytes) -> None:
    """Whatever a journal says: no more is believed than the file can hold, nothing is claimed."""
    layout.part(KEY).write_bytes(b"z" * 100)
    os.chmod(layout.part(KEY), 0o640)
    layout.journal(KEY).write_bytes(journal)
    part = Part(layout, KEY)
    try:
        part.open()
    except InsufficientStorage:
        pass
    assert allocated_bytes(part.path) <= BLOCK
    assert 0 <= part.received <= 100
    assert all(piece.start <= piece.at <= piece.end for piece in part.pieces)
    part.remove()
