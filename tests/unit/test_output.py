"""runnerd.backends.output: what is kept of an engine's output."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from runnerd.backends.output import Output


class Clock:
    now = 1.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def without_time(line: str) -> str:
    """A line of the file without the time at which it was written, if it begins with one."""
    found = re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (.*)", line)
    return line if found is None else found[1]


def test_each_line_has_its_time(tmp_path: Path) -> None:
    """Once, however it was cut; the tail is the engine's own words."""
    kept = Output(tmp_path / "log")
    for piece in (b"one\ntw", b"o", b"\n", b"three\n\nfour"):
        kept.feed(piece)
    kept.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert [without_time(line) for line in lines] == ["one", "two", "three", "", "four"]
    assert all(line[:2] == "20" for line in lines)
    assert kept.tail == "one\ntwo\nthree\n\nfour"


def test_the_tail_is_the_end() -> None:
    """The tail holds the last bytes in their order, however they were cut."""
    kept = Output(tail_bytes=100)
    text = "".join(f"{number}," for number in range(1000))
    for start in range(0, len(text), 7):
        kept.feed(text[start : start + 7].encode())
    assert kept.tail == text[-100:]


def test_the_tail_is_printable() -> None:
    """Terminal escapes and broken UTF-8 do not get through."""
    kept = Output()
    kept.feed(b"\x1b[31mred\x1b[0m\r\n\x07a\tb \xff\n")
    assert kept.tail == "red\na\tb \N{REPLACEMENT CHARACTER}\n"


def test_lines_beyond_the_rate_are_left_out(tmp_path: Path, clock: Clock) -> None:
    """A thousand lines a second are written; the rest is counted, and kept in the tail."""
    file = tmp_path / "log"
    kept = Output(file)
    kept.feed(b"".join(b"%d\n" % number for number in range(700)))
    kept.feed(b"".join(b"%d\n" % number for number in range(700, 1500)))
    clock.now = 2.0
    kept.feed(b"later\n")
    kept.close()
    lines = [without_time(line) for line in file.read_text().splitlines()]
    assert lines[:1000] == [str(number) for number in range(1000)]
    assert lines[-1] == "later"
    assert "2500 bytes of output left out" in lines[-2]
    assert "1499\nlater" in kept.tail


def test_bytes_beyond_the_rate_are_left_out(tmp_path: Path, clock: Clock) -> None:
    """One endless line cannot fill the disk either."""
    kept = Output(tmp_path / "log")
    for _ in range(100):
        kept.feed(b"x" * 65536)
    kept.close()
    assert (tmp_path / "log").stat().st_size == 2**20 + len("2026-11-28 08:00:00.000 ")


def test_the_file_is_rotated(tmp_path: Path, clock: Clock) -> None:
    """The file and the one before it are all there ever is."""
    kept = Output(tmp_path / "log")
    for second in range(20):
        clock.now = float(second)
        kept.feed(b"x" * 2**20)
    kept.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 11 * 2**20


def test_a_log_that_cannot_be_written_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An impossible log file is reported once; the tail goes on."""
    (tmp_path / "log").mkdir()
    kept = Output(tmp_path / "log")
    kept.feed(b"one\n")
    kept.feed(b"two\n")
    kept.close()
    assert kept.tail == "one\ntwo\n"
    assert [record.getMessage() for record in caplog.records] == [
        f"the engine log {tmp_path / 'log'} is not written any more: it is a folder, not a regular"
        " file"
    ]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A symbolic link in the log's place cannot make us write elsewhere."""
    (tmp_path / "target").write_text("precious")
    (tmp_path / "log").symlink_to(tmp_path / "target")
    kept = Output(tmp_path / "log")
    kept.feed(b"junk")
    kept.close()
    assert (tmp_path / "target").read_text() == "precious"
