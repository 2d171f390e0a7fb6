"""runnerd.cli.output_files: nothing that is there is overwritten unasked, nothing is half."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runnerd.cli.output_files import check_output, output_file
from runnerd.errors import ClientError, Conflict


def test_what_is_there_takes_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can be asked."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    file = tmp_path / "file"
    check_output(file, force=False)
    file.write_bytes(b"")
    check_output(file, force=True)
    with pytest.raises(Conflict, match="--force"):
        check_output(file, force=False)


@pytest.mark.parametrize(
    ("answer", "overwrites"), [("y\n", True), ("Yes\n", True), ("\n", False), ("no\n", False)]
)
def test_somebody_at_a_terminal_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, overwrites: bool
) -> None:
    """Only who says yes has it overwritten."""
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin.readline", lambda: answer, raising=False)
    if overwrites:
        check_output(tmp_path / "file", force=False)
    else:
        with pytest.raises(SystemExit):
            check_output(tmp_path / "file", force=False)


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    """A folder, a pipe, a link that leads nowhere, a place that there is not: force or not."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("", "pipe", "link", "missing/file"):
        with pytest.raises(ClientError):
            check_output(tmp_path / name, force=True)


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    """What was there stays where writing breaks off."""
    file = tmp_path / "file"
    for broken in (True, False):
        try:
            with output_file(file, mode=0o600) as target:
                target.write(b"half")
                assert not file.exists()
                if broken:
                    raise ClientError("broken")
        except ClientError:
            assert list(tmp_path.iterdir()) == []
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"half", 0o600)
    assert list(tmp_path.iterdir()) == [file]
