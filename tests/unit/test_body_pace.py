"""runnerd.relay.body_pace: what came before does not count, what came since does."""

from __future__ import annotations

from typing import cast

from runnerd.limit_settings import Limits
from runnerd.relay.body_pace import BodyPace
from runnerd.relay.messages import Request


class Arriving:
    """A request of which some bytes have come."""

    received = 10_000


def test_each_stretch_is_measured_alone() -> None:
    """Who has sent much at once gains nothing by it."""
    request = cast(Request, Arriving())
    pace = BodyPace(Limits(body_timeout=2, body_rate=100))
    assert not pace.kept
    assert pace.begin(request) == 2
    assert not pace.kept
    request.received += 199
    assert not pace.kept
    request.received += 1
    assert pace.kept
    pace.begin(request)
    assert not pace.kept
    pace.stop()
    assert not pace.kept


def test_without_a_rate_anything_will_do() -> None:
    """But something."""
    request = cast(Request, Arriving())
    pace = BodyPace(Limits(body_rate=0))
    pace.begin(request)
    assert not pace.kept
    request.received += 1
    assert pace.kept
