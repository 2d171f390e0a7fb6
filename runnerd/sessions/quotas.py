"""When sessions end, and what is said of that beforehand.

A session ends when nobody has used it for as long as the settings say, or when its principal has
too many or too much: then the one that was used longest ago makes room.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_CLOSE = 10  # the tenth part of a quota is left: sessions that would go next say so


def superfluous(
    holdings: Sequence[tuple[str, int]], *, most: int, most_bytes: int, spared: str
) -> list[str]:
    """Ids of the sessions that have to go, of `holdings` (ids and bytes, longest unused first).

    `spared` is the one that is being used; it stays, whatever it takes.
    """
    count, size = len(holdings), sum(bytes for _, bytes in holdings)
    gone = []
    for id, bytes in holdings:
        if count <= most and size <= most_bytes:
            break
        if id != spared:
            gone.append(id)
            count -= 1
            size -= bytes
    return gone


def next_to_go(holdings: Sequence[tuple[str, int]], *, most: int, most_bytes: int) -> set[str]:
    """Ids of the sessions that a tenth of the quota more would remove."""
    room = max(1, most - max(1, most // _CLOSE))
    return set(
        superfluous(holdings, most=room, most_bytes=most_bytes - most_bytes // _CLOSE, spared="")
    )


def warnings(expires: float, now: float, *, warn_before: float, is_next: bool) -> list[str]:
    """What is said of a session that is about to end, in sentences."""
    said = []
    if expires - now <= warn_before:
        hours = max(0, math.ceil((expires - now) / 3600))
        said.append(
            f"this session is removed in {hours} {'hour' if hours == 1 else 'hours'} unless it is"
            " used"
        )
    if is_next:
        said.append(
            "this session is among those that are removed next: you have nearly as many sessions,"
            " or as much text in them, as are kept of one user; delete others to keep it"
        )
    return said
