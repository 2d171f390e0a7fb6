"""A line that repeats is written once, with a count."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from runnerd.logs import Repeats

COVERS = ("runnerd.logs",)


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def written() -> Iterator[tuple[logging.Logger, _Lines, _Lines]]:
    """A logger with two handlers that share the filter."""
    logger = logging.getLogger("test.repeats")
    logger.propagate = False
    handlers = _Lines(), _Lines()
    repeats = Repeats()
    for handler in handlers:
        handler.addFilter(repeats)
        logger.addHandler(handler)
    yield logger, *handlers
    for handler in handlers:
        logger.removeHandler(handler)


def say(logger: logging.Logger, at: float, level: int, text: str, error: Exception | None) -> None:
    record = logging.makeLogRecord({"name": logger.name, "levelno": level, "msg": text})
    record.created = at
    record.exc_info = None if error is None else (type(error), error, None)
    logger.handle(record)


def test_flood_is_one_line_and_a_count(
    written: tuple[logging.Logger, _Lines, _Lines],
) -> None:
    """Two lines that alternate ten thousand times, and another one that is told between them."""
    logger, *handlers = written
    for number in range(10_000):
        say(logger, number / 1000, logging.ERROR, "a task failed", OSError("too many files"))
        say(logger, number / 1000, logging.WARNING, "a runner failed", None)
    say(logger, 9.999, logging.WARNING, "something else", None)
    say(logger, 12.0, logging.INFO, "and on", None)
    for handler in handlers:
        assert handler.lines == [
            "a task failed",
            "a runner failed",
            "something else",
            "a task failed (9999 times more within 10 s)",
            "a runner failed (9999 times more within 10 s)",
            "and on",
        ]


def test_what_differs_or_only_informs_is_written(
    written: tuple[logging.Logger, _Lines, _Lines],
) -> None:
    """Another error, another text, and what is no warning."""
    logger, first, _ = written
    for error in (OSError("a"), OSError("b"), None):
        say(logger, 0.0, logging.ERROR, "a task failed", error)
    for _ in range(3):
        say(logger, 0.0, logging.INFO, "starting", None)
    assert first.lines == ["a task failed"] * 3 + ["starting"] * 3


def test_same_line_is_written_again_later(
    written: tuple[logging.Logger, _Lines, _Lines],
) -> None:
    """What fails now and then is told each time, and memory of it is bounded."""
    logger, first, _ = written
    for minute in range(3):
        say(logger, 60.0 * minute, logging.WARNING, "it failed", None)
    assert first.lines == ["it failed"] * 3
    for number in range(1000):
        say(logger, 200.0, logging.WARNING, f"line {number}", None)
    assert len(first.lines) == 1003
