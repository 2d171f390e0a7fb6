"""A terminal with a screen, as people have one: a program in tmux, typed at and looked at."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.waiting import wait_for


class Screen:
    """One program in a tmux of its own."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        columns: int = 100,
        lines: int = 40,
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="rdt"))  # short, as names of sockets must be
        self._tmux = ["tmux", "-S", str(self._folder / "tmux"), "-f", os.devnull]
        self._status = self._folder / "status"
        left = f"echo $? > {shlex.quote(str(self._status))}"
        given = " ".join(shlex.quote(f"{name}={value}") for name, value in env.items())
        # readline, which pytest loads, has told all children of this process how wide it thinks
        # its terminal is.
        program = f"env -u COLUMNS -u LINES {given} {shlex.join(command)}; {left}"
        size = ("-x", str(columns), "-y", str(lines))
        self._run("new-session", "-d", *size, f"{program}; exec sleep infinity")

    def type(self, text: str) -> None:
        """Type a text and Enter."""
        self._run("send-keys", "-l", text)
        self.press("Enter")

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names: Enter, C-c, C-d, Tab, Up."""
        self._run("send-keys", *keys)

    def paste(self, text: str) -> None:
        """Paste a text as a terminal does, in brackets if the program asked for these."""
        subprocess.run(
            [*self._tmux, "load-buffer", "-b", "pasted", "-"], input=text, text=True, check=True
        )
        self._run("paste-buffer", "-p", "-r", "-b", "pasted")

    def text(self) -> str:
        """Everything that is to be seen, and what was scrolled away."""
        return self._run("capture-pane", "-p", "-J", "-S", "-").rstrip("\n")

    def reads(self, text: str) -> None:
        """Wait until `text` is on the screen."""
        self._wait(lambda: text in self.text(), repr(text))

    def awaits(self, prompt: str) -> None:
        """Wait until the last line is a prompt, and nothing behind it."""
        expected = prompt.rstrip()
        self._wait(
            lambda: self.text().rpartition("\n")[2].rstrip() == expected, f"the prompt {prompt!r}"
        )

    def ended(self) -> int:
        """Wait until the program has ended and return its exit status."""
        self._wait(lambda: self._status.exists() and bool(self._status.read_text()), "the end")
        return int(self._status.read_text())

    def close(self) -> None:
        """End the program and its tmux."""
        subprocess.run([*self._tmux, "kill-server"], capture_output=True)
        shutil.rmtree(self._folder)

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        try:
            wait_for(condition, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; the screen:\n{self.text()}") from None

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._tmux, *arguments], capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout


@contextmanager
def screen(command: Sequence[str], env: Mapping[str, str], **size: int) -> Iterator[Screen]:
    """Run a program in a terminal for the length of a with block.  Skips the test without tmux."""
    if shutil.which("tmux") is None:
        pytest.skip("there is no tmux")
    terminal = Screen(command, env, **size)
    try:
        yield terminal
    finally:
        terminal.close()
