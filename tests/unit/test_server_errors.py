"""Failures that are not the client's: as what they are told."""

from __future__ import annotations

import pytest

from runnerd import errors
from runnerd.errors import BackendFailure, DatabaseFailure, RunnerdError, SourceFailure


@pytest.mark.parametrize(
    ("kind", "of", "status"),
    [
        (errors.HostExhausted, BackendFailure, 502),
        (errors.ModelDeleted, BackendFailure, 404),  # it is not there any more
        (errors.SourceBusy, SourceFailure, 502),
        (errors.DatabaseLocked, DatabaseFailure, 503),
        (errors.ResultsFull, errors.StorageFailure, 507),
        (errors.Unconfirmed, errors.StorageFailure, 507),
    ],
)
def test_who_catches_the_general_failure_catches_the_special_one(
    kind: type[RunnerdError], of: type[RunnerdError], status: int
) -> None:
    """And programs tell them apart by their codes."""
    assert issubclass(kind, of)
    assert kind.status == status
    assert kind.code != of.code


def test_a_mistake_of_the_daemons_own_tells_no_details() -> None:
    """They are in its log."""
    assert errors.InternalError().body()["error"]["message"] == (
        "internal error; the daemon's log has more"
    )
