"""What runs is listed beside what has ended, however long it takes."""

from __future__ import annotations

from runnerd.api.running_requests import _all_of
from runnerd.relay.records import Records, RequestRecord


def record(id: str, clock: float) -> RequestRecord:
    made = RequestRecord(
        id=id, model="", operation="", origin=None, user_agent=None, streamed=False, bytes_in=0,
        principal="",
    )  # fmt: skip
    made.clock = clock
    return made


def test_who_runs_for_long_is_listed_although_its_record_is_not_kept() -> None:
    """As the oldest, and nobody twice."""
    records, long, late = Records(capacity=2), record("long", 1.0), record("late", 3.0)
    for each in (long, record("ended", 2.0), late):
        records.add(each)
    assert [each.id for each in _all_of([long, late], records.list())] == ["long", "ended", "late"]
    assert [each.id for each in _all_of([late], records.list())] == ["ended", "late"]
