"""What each error has, whatever it is of."""

from __future__ import annotations

from runnerd.errors import ModelNotFound, RunnerdError


def test_openais_document() -> None:
    """The member that is at fault is named where it is known."""
    found = ModelNotFound("there is no model x", param="model")
    assert str(found) == found.message == "there is no model x"
    assert found.body() == {
        "error": {
            "message": "there is no model x",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }


def test_nothing_is_said_that_is_not_known() -> None:
    """No header, and null for the member; without a kind of its own it is the server's mistake."""
    plain = RunnerdError("it went wrong")
    assert plain.headers() == {}
    assert plain.status == 500
    assert plain.body()["error"]["param"] is None
    assert plain.body()["error"]["type"] == "server_error"


def test_an_sdk_may_be_told_to_repeat_what_it_would_not() -> None:
    """True is told, too; None leaves it to the status."""
    assert RunnerdError("x", should_retry=True).headers() == {"x-should-retry": "true"}
