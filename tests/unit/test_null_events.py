"""Events that say nothing are taken out of a stream."""

from __future__ import annotations

import pytest

from runnerd.relay.response_adapters.null_events import WithoutNullEvents

STREAM = b'data: null\n\ndata: {"a":null}\n\n: ping\n\ndata: null\n\ndata: [DONE]\n\ndata: nu'
LEFT = b'data: {"a":null}\n\n: ping\n\ndata: [DONE]\n\ndata: nu'


@pytest.mark.parametrize("size", [1, 5, 13, len(STREAM)])
def test_however_it_is_cut(size: int) -> None:
    """Everything else passes byte for byte, also what broke off."""
    adapter = WithoutNullEvents()
    told = [adapter.feed(STREAM[at : at + size]) for at in range(0, len(STREAM), size)]
    assert b"".join([*told, adapter.end()]) == LEFT
