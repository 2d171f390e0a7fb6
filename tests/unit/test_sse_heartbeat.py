"""runnerd.relay.sse_heartbeat: signs of life for who asks for them."""

from __future__ import annotations

import pytest

from runnerd.errors import ClientError
from runnerd.relay.messages import Request
from runnerd.relay.sse_heartbeat import COMMENT, Heartbeat, asks_for_heartbeat, interval_of
from tests.support.waiting import until


def request(value: str | None) -> Request:
    headers = [] if value is None else [(b"x-ping-interval", value.encode())]
    found = Request("POST", b"/", "/", headers, True, True, None, False, "id")
    found.read_labels()
    return found


def test_nobody_gets_them_unasked() -> None:
    """Who does says how often."""
    assert interval_of(request(None)) is None
    assert not asks_for_heartbeat(request(None))
    assert interval_of(request("0.5")) == 0.5
    assert asks_for_heartbeat(request("nonsense"))


@pytest.mark.parametrize("value", ["", "x", "nan", "inf", "-1", "0", "0.01", "301", "1e9"])
def test_what_is_no_such_number(value: str) -> None:
    """A client that pings itself to death, or waits for ever, is told."""
    with pytest.raises(ClientError, match="X-Ping-Interval"):
        interval_of(request(value))


async def test_they_come_until_they_are_stopped() -> None:
    """As comments, which readers of streams pass over."""
    assert COMMENT.startswith(b":")
    assert COMMENT.endswith(b"\n\n")
    pings: list[int] = []
    heartbeat = Heartbeat(0.001, lambda: pings.append(1))
    await until(lambda: len(pings) > 2)
    heartbeat.stop()
    heartbeat.stop()
    count = len(pings)
    heartbeat._again()  # a timer that was about to fire
    assert len(pings) == count
    heartbeat.stop()
