"""The logs of a daemon and its engines as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from runnerd.observability.log_reader import About, LogReader

DAEMON = (
    "2026-11-28 08:00:00.100 INFO runnerd.x: starts\n"
    "2026-11-28 08:00:02.000 WARNING runnerd.x: runner 0a m: failed\n"
    "  in two lines\n"
    "2026-11-28 08:00:03.000 INFO runnerd.x: something else\n"
)
ENGINE = "2026-11-28 08:00:01.000 0.1 loading\n2026-11-28 08:00:02.500 0.2 ready\n"
OTHER = "2026-11-28 08:00:00.500 0.0 other\nno time of its own\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "engines").mkdir()
    (tmp_path / "runnerd.log").write_text(DAEMON)
    (tmp_path / "engines" / "0a.log").write_text(ENGINE)
    (tmp_path / "engines" / "0b.log").write_text(OTHER)
    return tmp_path


def words(data: bytes) -> list[str]:
    """The last word of each line."""
    return [line.split()[-1] for line in data.decode().splitlines()]


def test_in_one_order(folder: Path) -> None:
    """By time, to the millisecond; what has none stays behind the line before it."""
    reader = LogReader(folder)
    assert words(reader.read()) == [
        "starts", "other", "own", "loading", "failed", "lines", "ready", "else",
    ]  # fmt: skip
    assert reader.read() == b""
    assert words(LogReader(folder, engines=False).read()) == ["starts", "failed", "lines", "else"]
    assert words(LogReader(folder).read(2)) == ["ready", "else"]
    assert LogReader(folder).read(0) == b""
    assert b"08:00:01.000 engine 0a: 0.1 loading\n" in LogReader(folder).read()


def test_of_one_model(folder: Path) -> None:
    """Its engines' lines, and those of the daemon that name it, whole."""
    about = About({"0a"}, [b"0a"])
    reader = LogReader(folder, about=about)
    assert words(reader.read()) == ["loading", "failed", "lines", "ready"]


def test_what_comes_is_read_on(folder: Path) -> None:
    """Also in a file that is new, that was rotated, and of a line once it is complete."""
    reader = LogReader(folder)
    reader.read()
    with open(folder / "runnerd.log", "a") as file:
        file.write("2026-11-28 08:00:04.000 INFO runnerd.x: half")
    assert reader.read() == b""
    with open(folder / "runnerd.log", "a") as file:
        file.write(" whole\n")
    (folder / "engines" / "0c.log").write_text("2026-11-28 08:00:03.500 new\n")
    assert words(reader.read()) == ["new", "whole"]
    (folder / "runnerd.log").rename(folder / "runnerd.log.1")
    (folder / "runnerd.log").write_text("2026-11-28 08:00:05.000 INFO runnerd.x: rotated\n")
    assert words(reader.read()) == ["rotated"]


def test_a_long_file_begins_with_a_whole_line(tmp_path: Path) -> None:
    """Somewhere in its middle."""
    line = "2026-11-28 08:00:00.000 INFO runnerd.x: " + "x" * 60 + "\n"
    (tmp_path / "runnerd.log").write_text(line * 10_000)
    found = LogReader(tmp_path).read().decode().splitlines(keepends=True)
    assert set(found) == {line}
    assert len(found) > 2000


def test_there_is_none(tmp_path: Path) -> None:
    """A folder without a log, or one that is not there."""
    assert not LogReader(tmp_path / "none").exists()
    assert LogReader(tmp_path).read() == b""
