"""The entry of the command line: what it prints, wherever it prints it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_PRINTS = """
import sys, types
from runnerd import __main__
from runnerd.cli import arguments
command = types.SimpleNamespace(run=lambda options: print("caf\\u00e9 \\u65e5\\u672c"))
arguments.parse = lambda given: command
sys.exit(__main__.main())
"""


def test_terminal_that_lacks_a_character() -> None:
    """A model's answer in another script than the terminal's costs its letters, not the answer."""
    done = subprocess.run(
        [sys.executable, "-c", _PRINTS],
        env={**os.environ, "PYTHONIOENCODING": "iso8859-9"},
        capture_output=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"caf\xe9 ??\n", b"")


@pytest.mark.parametrize(
    "arguments", [("submit", "any"), ("session", "prompt", "any"), ("embed", "any")]
)
def test_input_that_is_no_text(arguments: tuple[str, ...]) -> None:
    """Is told in a sentence."""
    done = subprocess.run(
        [sys.executable, "-m", "runnerd", *arguments],
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        input=b"caf\xe9",
        capture_output=True,
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().startswith("runnerd: the input is no text in utf-8: ")
