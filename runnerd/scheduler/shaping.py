"""How many slots an instance is started with.

Each slot has the whole context of its own, so slots cost memory.  An instance gets as many as there
is room for; but more than the fewest only of what nobody is about to want: a model that was in use
lately and has no runner just now can come back beside it.  Two models that fit beside each other
with fewer slots so settle side by side, instead of taking turns with all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from runnerd.scheduler.budget import Room, memory
from runnerd.scheduler.decisions import Shape
from runnerd.scheduler.pool import Pool


def fitting_shape(pool: Pool, pools: Iterable[Pool], room: Room) -> Shape | None:
    """Return the shape in which an instance of `pool` can start, None while there is no room."""
    *more, least = pool.terms.shapes
    if not room.fits(pool.claims(least)):
        return None
    kept = _kept(pool, pools, room) if more else Counter()
    for shape in more:
        if room.fits(Counter(pool.claims(shape)) + kept):
            return shape
    return least


def _kept(pool: Pool, pools: Iterable[Pool], room: Room) -> Counter[str]:
    """Return the memory that other models need to come back beside the least of `pool`."""
    own, kept = Counter(pool.claims()), Counter[str]()
    for other in pools:
        if other is pool or other.instances:
            continue
        more = kept + Counter(memory(other.claims()))
        if room.fits(own + more):  # else it could not come back anyway
            kept = more
    return kept
