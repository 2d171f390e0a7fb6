"""What happened to each request, the newest of them."""

from __future__ import annotations

from typing import Any, cast

from runnerd.relay.records import LEFT, MOST_CAPTURED, Records, RequestRecord
from runnerd.relay.usage import Usage

COUNTS = b'"usage":{"prompt_tokens":3,"completion_tokens":4}'
MORE = b'"usage":{"prompt_tokens":3,"completion_tokens":9}'


def record(id: str, *, model: str = "m", principal: str = "p") -> RequestRecord:
    return RequestRecord(
        id=id, model=model, operation="chat/completions", origin=None, user_agent=None,
        streamed=False, bytes_in=0, principal=principal,
    )  # fmt: skip


def test_old_records_fall_out() -> None:
    """The newest stay, of one model, of one principal, or of both."""
    records = Records(capacity=3)
    for id, model, principal in ("1mp", "2mp", "3mq", "4np"):
        records.add(record(id, model=model, principal=principal))

    def ids(*which: str | None) -> list[str]:
        return [each.id for each in records.list(*which)]

    assert ids() == ["2", "3", "4"]
    assert ids("m") == ["2", "3"]
    assert ids(None, "p") == ["2", "4"]
    assert ids("m", "q") == ["3"]
    assert [each.id for each in records.newest()] == ["4", "3", "2"]


def test_content_is_kept_of_the_newest_alone() -> None:
    """Records outlive their content, and all of it goes when an owner wants none any more."""
    records = Records()
    every = [record(str(number)) for number in range(MOST_CAPTURED + 2)]
    for each in every:
        records.add(each)
        records.keep_content(each, cast(Any, object()))
    assert records.captured() == []  # none has ended
    for each in every:
        each.duration = 1.0
    assert [each.content is None for each in every[:3]] == [True, True, False]
    assert len(records.captured()) == MOST_CAPTURED
    records.forget_content()
    assert all(each.content is None for each in every)
    assert records.captured() == []
    assert len(records.list()) == len(every)


def test_tokens_are_read_again_while_more_may_be_told() -> None:
    """And once when all was told: the bytes they stand in are the engine's."""
    each = record("1")
    assert each.usage == Usage()
    each.counts = COUNTS
    assert (each.usage.prompt, each.usage.generated) == (3, 4)
    each.counts = MORE
    assert each.usage.generated == 9
    each.duration = 1.0
    assert each.usage.generated == 9
    each.counts = COUNTS
    assert each.usage.generated == 9
    assert each.to_json()["completion_tokens"] == 9


def test_how_long_it_has_waited() -> None:
    """Until it had a runner; until its end where it never had one; else until now."""
    each = record("1")
    each.clock -= 100.0
    assert each.waits() >= 100.0
    each.duration = 7.0
    assert each.waits() == 7.0
    each.waited = 2.0
    assert each.waits() == 2.0


def test_whose_client_has_left() -> None:
    """That is no failure of anybody's."""
    each = record("1")
    assert not each.left
    each.error = LEFT
    assert each.left
