"""When work that nobody waits for goes on: in the pauses between people.

An engine that computes for jobs answers people later, however few of its slots jobs have: each of
its steps serves all, and cores and memory are everybody's.  So a job begins only while nobody is
served or waits, anywhere in the daemon, and has to make room for whoever comes.

Who asks again and again would have jobs begin and end for nothing.  So each time that jobs had to
make room they wait for longer after the last response, up to ten seconds, until people have been
left alone by them for a minute.

They are not kept from work for ever: where none got done for `patience` seconds, one is let
through beside people, to its end.
"""

from __future__ import annotations

import math

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds
_CALM = 60.0  # seconds without a job that had to make room, after which pauses are as before


class Pauses:
    """Knows how many people are served and how many jobs run; times are the scheduler's.

    `patience` is 0 where jobs work beside people, infinite where they never do.
    """

    __slots__ = (
        "_displaced", "_displaced_at", "_kept_since", "_left_at", "_looked_at", "_pause",
        "jobs", "patience", "people",
    )  # fmt: skip

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self.people = 0  # requests that are served and that somebody waits for
        self.jobs = 0  # others that are served
        self._left_at = -math.inf  # when the last of the people left
        self._pause = 0.0
        self._displaced: set[int] = set()  # tickets that were told to make room
        self._displaced_at = -math.inf
        self._kept_since = math.inf  # since when no job got done although there are some
        self._looked_at = -math.inf

    # what happens

    def granted(self, *, background: bool) -> None:
        """A request is served from now on."""
        if background:
            self.jobs += 1
        else:
            self.people += 1

    def ended(self, ticket: int, now: float, *, background: bool) -> None:
        """A request is not served any more."""
        if background:
            self.jobs -= 1
            if ticket in self._displaced:
                self._displaced.discard(ticket)
            else:
                self._kept_since = math.inf
        else:
            self.people -= 1
            self._left_at = now

    def wait(self, now: float) -> None:
        """A job cannot begin now."""
        self._kept_since = min(self._kept_since, now)

    def displaced(self, ticket: int, now: float) -> None:
        """A job that runs was told to make room."""
        self.wait(now)
        self._displaced.add(ticket)
        if now - self._displaced_at >= _CALM:
            self._pause = FIRST_PAUSE
        elif now > self._displaced_at:  # of several at a time one counts
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self._displaced_at = now

    # what follows

    def begins_at(self, *, people_wait: bool) -> float:
        """Return from when on a job may begin, as things stand."""
        if not self.patience:
            return -math.inf
        quiet_at = math.inf
        if not self.people and not people_wait:
            calm_at = self._displaced_at + _CALM
            quiet_at = min(self._left_at + self._pause, max(self._left_at, calm_at))
        return quiet_at if self.jobs else min(quiet_at, self._overdue_at)

    def stay(self, now: float) -> int | None:
        """Return how many jobs need not make room for who comes, None for all: one where none got
        done for too long.
        """
        if not self.patience:
            return None
        return int(now >= self._overdue_at)

    @property
    def _overdue_at(self) -> float:
        return self._kept_since + self.patience

    def looked(self, now: float) -> None:
        """Whoever waits was looked at: what could begin by now has begun."""
        self._looked_at = now

    def look_at(self, *, people_wait: bool) -> float | None:
        """Return when whoever waits is to be looked at again, None where no time decides that."""
        begins_at = self.begins_at(people_wait=people_wait)
        return begins_at if self._looked_at < begins_at < math.inf else None
