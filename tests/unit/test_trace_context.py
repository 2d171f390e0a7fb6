"""Which trace a request belongs to, whatever a client says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.observability.trace_context import TraceContext, trace_context

TRACE, SPAN = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
GOOD = b"00-%s-%s-01" % (TRACE, SPAN)
CONTINUED = TraceContext(int(TRACE, 16), int(SPAN, 16))


def of(*values: bytes) -> TraceContext:
    headers = [(b"host", b"x"), *((b"traceparent", value) for value in values)]
    return trace_context(headers)


def test_a_clients_trace_goes_on() -> None:
    """With the client's wish whether it is recorded, and as a later version may write it."""
    assert of(GOOD) == CONTINUED
    assert of(GOOD).text == TRACE.decode()
    assert of(GOOD[:-2] + b"00") == CONTINUED._replace(sampled=False)
    assert of(GOOD[:-2] + b"03") == CONTINUED
    assert of(b"cc" + GOOD[2:] + b"-what-comes-then") == CONTINUED


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"00",
        GOOD + b"-more",
        GOOD + b"0",
        GOOD + b"\n",
        b"ff" + GOOD[2:],
        GOOD.upper(),
        b" " + GOOD,
        b"00-%s-%s-01" % (b"0" * 32, SPAN),
        b"00-%s-%s-01" % (TRACE, b"0" * 16),
        b"00-%s-%s-1" % (TRACE, SPAN),
        b"00-%s-%s-01" % (TRACE[1:], SPAN),
        b"cc" + GOOD[2:] + b"more",
        b"cc" + GOOD[2:] + b"-" + b"x" * 1000,
    ],
)
def test_what_is_wrong_is_ignored(value: bytes) -> None:
    """The request begins a trace of its own."""
    found = of(value)
    assert found.trace_id not in (0, CONTINUED.trace_id)
    assert (found.parent, found.sampled) == (None, True)


def test_two_headers_say_nothing() -> None:
    """Nobody knows which one counts."""
    assert of(GOOD, GOOD).parent is None


def test_each_request_has_a_trace_of_its_own() -> None:
    assert len({of().text for _ in range(100)}) == 100
    assert len(of().text) == 32


@given(st.binary(max_size=300))
def test_any_bytes(value: bytes) -> None:
    """Whatever comes, there is a trace."""
    assert 0 < of(value).trace_id < 2**128
