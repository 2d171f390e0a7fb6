"""Who goes when room is needed.

Cheapest first: a runner that was idle for long and loads quickly is missed least; what an owner
wants to have resident comes after everything else.  Nobody is sent
away whose place does not help, and of those chosen, whoever turns out not to be needed stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runnerd.scheduler.pool import Instance, Pool


@dataclass(frozen=True, slots=True)
class Candidate:
    """A runner that may have to go.  `free_at` is when it may: at once if that is past."""

    pool: Pool
    instance: Instance
    free_at: float

    def price(self, now: float) -> tuple[bool, bool, float, float, int]:
        """The sort key of eviction: the runner with the lowest one is stopped first.

        Residents come last and runners in use before them; idle ones by how dear it is to load them
        again for each second that they have been idle.
        """
        instance, resident = self.instance, not self.pool.may_shrink
        if instance.idle:
            missed = (self.pool.load_seconds + 0.01) / (now - instance.used_at + 0.01)
            return resident, False, missed, instance.used_at, instance.generation
        waits = max(0.0, self.free_at - now)
        return resident, True, waits, len(instance.leases), instance.generation


def choose(
    lack: Mapping[str, int], candidates: Sequence[Candidate], now: float
) -> list[Candidate] | None:
    """Return the candidates whose places make up for `lack`, None if all together do not."""
    if not lack:
        return []
    ordered = sorted(candidates, key=lambda candidate: candidate.price(now))
    if (one := _one_idle(lack, ordered)) is not None:
        return [one]
    chosen: list[Candidate] = []
    for candidate in ordered:
        if _covers(lack, chosen):
            break
        if any(candidate.instance.claims.get(name, 0) for name in _short(lack, chosen)):
            chosen.append(candidate)
    if not _covers(lack, chosen):
        return None
    return _needed(lack, chosen)


def _one_idle(lack: Mapping[str, int], ordered: Sequence[Candidate]) -> Candidate | None:
    """The cheapest idle runner that suffices alone, so that not several have to go."""
    for candidate in ordered:
        if not candidate.instance.idle or not candidate.pool.may_shrink:
            break
        if _covers(lack, [candidate]):
            return candidate
    return None


def _needed(lack: Mapping[str, int], chosen: list[Candidate]) -> list[Candidate]:
    """Those of the chosen without whom it would not suffice, the dearest spared first."""
    for candidate in reversed(chosen[:]):
        others = [other for other in chosen if other is not candidate]
        if _covers(lack, others):
            chosen = others
    return chosen


def _short(lack: Mapping[str, int], chosen: Sequence[Candidate]) -> list[str]:
    return [
        name
        for name, amount in lack.items()
        if sum(candidate.instance.claims.get(name, 0) for candidate in chosen) < amount
    ]


def _covers(lack: Mapping[str, int], chosen: Sequence[Candidate]) -> bool:
    return not _short(lack, chosen)
