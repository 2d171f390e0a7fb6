"""Pantry's statuses and words for errors."""

from __future__ import annotations

import pytest

from runnerd.api.pantry.customs import PANTRY, status_of
from runnerd.errors import (
    BackendFailure,
    ClientError,
    Conflict,
    DatabaseFailure,
    InsufficientStorage,
    ModelDeleted,
    ModelNotFound,
    PantryFailure,
    PermissionMissing,
    RunnerdError,
    Unauthorized,
    UnprocessableBody,
    UpstreamTimeout,
)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ClientError("x"), 400),
        (Unauthorized("x"), 401),
        (PermissionMissing("x", permission="session"), 401),
        (ModelNotFound("x"), 404),
        (ModelDeleted("x"), 404),
        (Conflict("x"), 409),
        (UnprocessableBody("x"), 422),
        (PantryFailure("x"), 500),
        (DatabaseFailure("x"), 503),
        (BackendFailure("x"), 507),
        (UpstreamTimeout("x"), 507),
        (InsufficientStorage("x"), 507),
    ],
)
def test_statuses(error: RunnerdError, status: int) -> None:
    """What is missing is not told apart from who is not known; what cannot be loaded is 507."""
    assert status_of(error) == status


def test_words() -> None:
    """The original's, with ours behind them, as they come."""

    def told(error: RunnerdError) -> str:
        return PANTRY.body(error.body()["error"], status_of(error)).decode()

    assert told(Unauthorized("the key is not valid")) == "Incorrect API Key: the key is not valid"
    assert told(PermissionMissing("no", permission="x")) == "Incorrect Permissions: no"
    assert told(ModelNotFound("Unable to locate LLM.")) == "Unable to locate LLM."
    assert PANTRY.event({"code": "x", "message": "y"}) == b"y"
