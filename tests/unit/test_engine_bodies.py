"""The bodies that engines are asked with."""

from __future__ import annotations

import json

from runnerd.relay.engine_bodies import completed_request, engine_body
from runnerd.relay.operations import OPERATIONS
from runnerd.relay.parsed_request import parse


def test_the_clients_own_bytes_where_nothing_changes() -> None:
    """The same object: nothing is written anew."""
    request = parse(b'{"model": "m",  "prompt": "x"}')
    completed = completed_request(OPERATIONS["completions"], request)
    assert completed is request
    assert engine_body(completed, None, assembles=False) == (request.body,)


def test_a_response_that_is_put_together_is_asked_for_as_a_stream() -> None:
    """Whatever the client has asked for."""
    body = b"".join(engine_body(parse(b'{"model": "m", "stream": false}'), None, assembles=True))
    assert json.loads(body)["stream"] is True
