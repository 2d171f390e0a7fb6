"""Figures of jobs and sessions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from runnerd.api import figures


class _Kept:
    """A queue with more kinds of jobs than are told, and a store of sessions."""

    def __init__(self, kinds: int) -> None:
        self._kinds = kinds

    async def counts(self) -> list[Any]:
        return [
            SimpleNamespace(model=f"m{kind}", state="queued", number=kind)
            for kind in range(self._kinds)
        ] + [SimpleNamespace(model="m1", state="queued", number=10_000)]

    async def count(self) -> int:
        return 3


async def test_jobs_are_told_within_a_bound() -> None:
    """Those of which there are most; what is the same is added up."""
    gauge = await figures.jobs(cast(Any, _Kept(1000)))
    assert len(gauge.values) == 500
    assert gauge.values["m1", "queued"] == 10_001
    assert ("m2", "queued") not in gauge.values


async def test_sessions_are_counted() -> None:
    """One figure without labels."""
    assert (await figures.sessions(cast(Any, _Kept(0)))).values == {(): 3.0}
