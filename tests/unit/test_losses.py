"""Claims that were taken away are told once."""

from __future__ import annotations

from runnerd.jobs.fleet.losses import Losses


def test_told_once() -> None:
    """Whoever hears of it first; what cannot be read is none."""
    found: list[tuple[str, int]] = []
    losses = Losses()
    losses.subscribe(lambda id, token: found.append((id, token)))
    losses.tell("a", 1)
    for announcement in (b"a 1", b"b 2", b"b 2", b"a 3", b"", b"a", b"\xff x", b"c -1"):
        losses.heard(announcement)
    assert found == [("a", 1), ("b", 2), ("a", 3)]
