"""runnerd.relay.planner: how often a body is looked at."""

from __future__ import annotations

from typing import Any, cast

import pytest

from runnerd.access import NOBODY
from runnerd.config import Limits
from runnerd.relay import body_inspection, planner
from runnerd.relay.body_scan import check_weight, is_heavy
from runnerd.relay.planner import Planner
from runnerd.relay.routes import find


@pytest.mark.parametrize(("more", "times"), [(b"", 1), (b',"stop":null', 2)])
def test_a_heavy_body_is_weighed_once(
    more: bytes, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again only where something was taken out of it."""
    weighed = []

    def counted(body: bytes, depth: int) -> None:
        weighed.append(len(body))
        check_weight(body, depth)

    for module in (planner, body_inspection):
        monkeypatch.setattr(module, "check_weight", counted)
    body = b'{"model":"m","prompt":"%s"%s}' % (b"x" * 2**19, more)
    assert is_heavy(body)
    route = find("/v1/completions")
    assert route is not None
    Planner(cast(Any, None), Limits()).read(body, route, NOBODY)
    assert len(weighed) == times
