"""One request of a connection: whose its body is."""

from __future__ import annotations

from runnerd.limit_settings import Limits
from runnerd.relay.body_budget import BodyBudget
from runnerd.relay.messages import Request
from runnerd.relay.pipelined_request import PipelinedRequest


def test_a_body_stays_whose_it_was_first() -> None:
    """Also where the connection is taken for somebody else while it arrives."""
    bodies = BodyBudget(Limits(body_bytes=100, buffered_bytes=400))
    request = Request("POST", b"/", "/", [], True, True, None, True, "id")
    entry = PipelinedRequest(request, None)
    for claimant in ("uid 1", "", "uid 1"):
        assert entry.hold(20, bodies, claimant, unix=False)
        request.collect(b"x" * 20)
    entry.forget_body(bodies)
    assert bodies.held == 0
    for claimant in ("uid 1", ""):
        assert bodies.claim(claimant, 300, False), "something was left over"
        bodies.give_back(claimant, 300, False)
