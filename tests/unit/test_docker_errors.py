"""Errors of Docker Model Runner's own routes."""

from __future__ import annotations

from runnerd.api.docker_errors import DOCKER

ERROR = {"message": "the model is not here", "type": "invalid_request_error", "code": None}


def test_a_line_of_text() -> None:
    """Its client prints the body as it is."""
    assert DOCKER.body(ERROR, 404) == b"the model is not here\n"
    assert DOCKER.event(ERROR) == b"the model is not here\n"
    assert DOCKER.media_type == "text/plain; charset=utf-8"
