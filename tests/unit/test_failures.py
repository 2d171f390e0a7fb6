"""runnerd.runner.failures: whatever a backend raises is a failure with a reason."""

from __future__ import annotations

import asyncio
import logging

import pytest

from runnerd.runner.failures import EngineHang, unforeseen


@pytest.mark.parametrize(
    ("error", "said", "level"),
    [
        (OSError(24, "Too many open files"), "OSError: Too many open files", logging.WARNING),
        (asyncio.CancelledError(), "CancelledError", logging.WARNING),
        (KeyError("x"), "KeyError: 'x'", logging.ERROR),
        (ValueError(), "ValueError", logging.ERROR),
    ],
)
def test_what_nobody_foresaw(
    error: BaseException, said: str, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistake of the backend's has its traceback in the log, what the host does has none."""
    failure = unforeseen(error, runner="r", backend="b", loading=True)
    assert failure.message == f"backend b failed: {said}"
    assert failure.__cause__ is error
    [record] = caplog.records
    assert record.levelno == level
    assert bool(record.exc_info and record.exc_info[0]) is (level == logging.ERROR)


def test_a_hang_is_told_as_a_timeout() -> None:
    """So that clients try again elsewhere, and not the same at once."""
    hang = EngineHang("it hangs", exit_reason="hang")
    assert (hang.status, hang.code) == (504, "engine_hang")
