"""Lines of the log in each form."""

from __future__ import annotations

import json
import logging
import socket
import sys
from pathlib import Path

import pytest

from runnerd.log_formats import JournalHandler, JsonFormatter, PrefixFormatter, TextFormatter


def line(message: str, level: str = "INFO", **about: str) -> logging.LogRecord:
    return logging.makeLogRecord({
        "name": "runnerd.x", "levelname": level, "levelno": logging.getLevelName(level),
        "msg": message, "created": 0.0, **about,
    })  # fmt: skip


def test_text_ends_with_the_request() -> None:
    """Where a line is about one."""
    formatter = TextFormatter("%(name)s: %(message)s")
    assert formatter.format(line("a")) == "runnerd.x: a"
    assert formatter.format(line("a", request_id="r-1", model="m")) == "runnerd.x: a [r-1]"


def test_one_object_per_line() -> None:
    """Whatever a message has in it; with what it is about, and what was raised."""
    record = line('a\n"b" \u2028', "ERROR", request_id="r-1", runner="0a", model="m", trace_id="4b")
    text = JsonFormatter().format(record)
    assert "\n" not in text
    assert json.loads(text) == {
        "time": "1970-01-01T00:00:00.000Z", "level": "error", "logger": "runnerd.x",
        "message": "a\n\"b\" \u2028", "request_id": "r-1", "runner": "0a", "model": "m",
        "trace_id": "4b",
    }  # fmt: skip
    try:
        raise ValueError("odd")
    except ValueError:
        record.exc_info = sys.exc_info()
    assert "ValueError: odd" in json.loads(JsonFormatter().format(record))["exception"]


def test_levels_for_the_journal() -> None:
    """In front of every line of a message."""
    assert PrefixFormatter().format(line("a\nb", "WARNING")) == "<4>runnerd.x: a\n<4>b"


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def fields(entry: bytes) -> dict[str, bytes]:
    """The fields of an entry, as the journal reads them."""
    found: dict[str, bytes] = {}
    while entry:
        head, _, entry = entry.partition(b"\n")
        name, equals, value = head.partition(b"=")
        if not equals:
            size = int.from_bytes(entry[:8], "little")
            value, entry = entry[8 : 8 + size], entry[8 + size + 1 :]
        found[name.decode()] = value
    return found


def test_fields_of_the_journal(tmp_path: Path) -> None:
    """One entry for a line, whatever is in it; no message can make fields of its own."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "j"))
        handler = JournalHandler(str(tmp_path / "j"), _Lines())
        handler.handle(line("a\nPRIORITY=0\n", "ERROR", request_id="r-1", model="m\nX=1"))
        assert fields(journal.recv(65536)) == {
            "SYSLOG_IDENTIFIER": b"runnerd", "PRIORITY": b"3", "MESSAGE": b"a\nPRIORITY=0\n",
            "LOGGER": b"runnerd.x", "RUNNERD_REQUEST_ID": b"r-1", "RUNNERD_MODEL": b"m\nX=1",
        }  # fmt: skip
        handler.close()
    (tmp_path / "j").unlink()


def test_without_the_journal(tmp_path: Path) -> None:
    """There is none, or it ends: lines go where they went before."""
    otherwise = _Lines()
    with pytest.raises(OSError, match="No such file"):
        JournalHandler(str(tmp_path / "j"), otherwise)
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    journal.bind(str(tmp_path / "j"))
    handler = JournalHandler(str(tmp_path / "j"), otherwise)
    journal.close()
    handler.handle(line("a"))
    handler.close()
    (tmp_path / "j").unlink()
    assert otherwise.lines == ["a"]
