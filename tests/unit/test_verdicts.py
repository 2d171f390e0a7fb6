"""What trials of engines found, kept beside them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from runnerd.backends.llamacpp.trial.verdicts import FILE_NAME, Verdict, Verdicts

WORKS = Verdict("works", flags=("--no-repack",))
DIES = Verdict("dies", "it was ended by SIGILL", "SIGILL")


def test_what_is_kept(tmp_path: Path) -> None:
    """For the next daemon, whichever user it is; a failure that may pass is tried again."""
    file = tmp_path / "engines" / FILE_NAME
    Verdicts([file]).put("a", WORKS)
    Verdicts([file]).put("b", DIES)
    Verdicts([file]).put("c", Verdict("fails", "no memory"))
    found = Verdicts([file])
    assert (found.get("a"), found.get("b"), found.get("c")) == (WORKS, DIES, None)
    assert file.stat().st_mode & 0o777 == 0o644
    assert os.listdir(file.parent) == [FILE_NAME]


def test_others_verdicts_are_read_and_not_written(tmp_path: Path) -> None:
    """The first file is ours; what is in several counts as it is there."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    Verdicts([theirs]).put("a", DIES)
    content = theirs.read_bytes()
    both = Verdicts([ours, theirs])
    assert both.get("a") == DIES
    both.put("a", WORKS)
    assert both.get("a") == WORKS
    assert theirs.read_bytes() == content


@pytest.mark.parametrize(
    "entry",
    [
        None,
        {"state": "works", "flags": ["--model", "/etc/passwd"], "reason": "", "signal": ""},
        {"state": "perfect", "flags": [], "reason": "", "signal": ""},
        {"state": "works", "flags": "--no-repack", "reason": "", "signal": ""},
        {"state": "works", "flags": [], "reason": 1, "signal": ""},
        {"state": ["works"], "flags": [], "reason": "", "signal": ""},
    ],
)
def test_a_foreign_entry_is_none(entry: object, tmp_path: Path) -> None:
    """What a file says goes on a command line; it costs another trial."""
    file = tmp_path / FILE_NAME
    file.write_text(json.dumps({"a": entry}), encoding="utf-8")
    assert Verdicts([file]).get("a") is None


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100000, " " * 300000])
def test_a_damaged_file_is_replaced(text: str, tmp_path: Path) -> None:
    """It is only a cache."""
    file = tmp_path / FILE_NAME
    file.write_text(text, encoding="utf-8")
    verdicts = Verdicts([file])
    assert verdicts.get("a") is None
    verdicts.put("a", DIES)
    assert verdicts.get("a") == DIES


def test_the_oldest_are_forgotten(tmp_path: Path) -> None:
    """One that was found again is no old one."""
    verdicts = Verdicts([tmp_path / FILE_NAME])
    for number in range(64):
        verdicts.put(str(number), DIES)
    verdicts.put("0", WORKS)
    verdicts.put("64", DIES)
    assert verdicts.get("1") is None
    assert verdicts.get("0") == WORKS


def test_a_folder_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    """But the next trial."""
    (tmp_path / "file").touch()
    verdicts = Verdicts([tmp_path / "file" / FILE_NAME])
    verdicts.put("a", DIES)
    assert verdicts.get("a") is None
