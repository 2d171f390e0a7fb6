"""runnerd.relay.engine_errors: what a client is told of an engine's refusal."""

from __future__ import annotations

from runnerd.relay.engine_errors import client_error


def test_a_text_that_does_not_fit_one_batch() -> None:
    """It is the client's, with how long a text may be and what makes room for longer ones."""
    words = (
        "input (5000 tokens) is too large to process. increase the physical batch size "
        "(current batch size: 2048)"
    )
    status, error = client_error(500, {"message": words, "type": "server_error"})
    assert status == 400
    assert "input (5000 tokens) is too large to process" in error["message"]
    assert "loaded for 2048 tokens at most" in error["message"]
    assert "--context-size N" in error["message"]
    assert error["code"] == "invalid_request"
    _, error = client_error(500, {"message": "input (9 tokens) is too large to process"})
    assert error["message"].endswith("it is longer than the model's context")
