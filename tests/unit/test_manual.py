"""Manual pages made of the arguments."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from runnerd.cli.arguments import make_parser, parse
from runnerd.cli.manual import man, pages_of
from runnerd.errors import NotFound


def test_every_command_has_a_page() -> None:
    """And what it can be given is on it."""
    pages = dict(pages_of(make_parser()))
    assert {"runnerd", "runnerd-run", "runnerd-user-add", "runnerd-import"} <= set(pages)
    assert "\\-\\-keep\\-alive TIME" in pages["runnerd-run"]
    assert "completion|embedding|reranking" in pages["runnerd-load"]
    assert ".SH EXIT STATUS" in pages["runnerd-ls"]
    assert "RUNNERD_HOST" in pages["runnerd"]


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff checks pages")
def test_pages_are_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """groff has nothing to say about any of them."""
    options = parse(["man", "--into", str(tmp_path / "man1")])
    assert man(options) == 0
    files = sorted((tmp_path / "man1").glob("*.1"))
    assert f"{len(files)} pages are in" in capsys.readouterr().out
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", *map(str, files)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc checks pages")
def test_pages_please_mandoc(tmp_path: Path) -> None:
    """The other reader of such pages has no warning, either."""
    assert man(parse(["man", "--into", str(tmp_path)])) == 0
    done = subprocess.run(
        ["mandoc", "-Tlint", "-Wwarning", *map(str, sorted(tmp_path.glob("*.1")))],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")


def test_one_page(capsys: pytest.CaptureFixture[str]) -> None:
    """By the words of its command."""
    assert man(parse(["man", "user", "add"])) == 0
    assert capsys.readouterr().out.startswith('.TH "RUNNERD-USER-ADD" 1')
    with pytest.raises(NotFound):
        man(parse(["man", "nonsense"]))


_WITHOUT_JSON = {
    "runnerd-serve", "runnerd-run", "runnerd-ui", "runnerd-top", "runnerd-worker",
    "runnerd-install", "runnerd-completion", "runnerd-complete", "runnerd-man", "runnerd-launch",
}  # fmt: skip
"""What runs until it is ended, talks to a person, or prints what is a format of its own."""


def test_every_command_prints_json() -> None:
    """Of all others."""
    pages = dict(pages_of(make_parser()))
    groups = {name for name, text in pages.items() if ".SH COMMANDS" in text}
    without = {name for name, text in pages.items() if "\\-\\-json" not in text} - groups
    assert without == _WITHOUT_JSON
