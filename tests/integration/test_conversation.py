"""`runnerd run` on a terminal: a real pseudo-terminal, a real daemon, a model that answers."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import SECONDS, wait_for

pytestmark = pytest.mark.engine

_DEMO = Path(__file__).parents[2] / "demo" / "demo-a.gguf"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with demo-a."""
    with running(tmp_path_factory.mktemp("conversation")) as daemon:
        daemon.import_model(_DEMO, "demo-a")
        yield daemon


class Terminal:
    """A person at `runnerd run demo-a --temperature 0`."""

    def __init__(self, daemon: DaemonProcess, home: Path, *arguments: str) -> None:
        environment = {**os.environ, "XDG_STATE_HOME": str(home), "TERM": "dumb"}
        environment.pop("RUNNERD_NOHISTORY", None)
        command = ["-m", "runnerd", "--host", f"unix://{daemon.socket}", "run", *arguments]
        self.screen = pexpect.spawn(
            sys.executable,
            command,
            env=environment,
            encoding="utf-8",
            timeout=60 * SECONDS,
            echo=False,
        )

    def reads(self, text: str) -> None:
        """Wait until `text` is on the screen."""
        self.screen.expect_exact(text)

    def asks(self, text: str, response: str) -> None:
        """Type a line at the prompt and wait for the response and the next prompt."""
        self.screen.sendline(text)
        self.reads(response)
        self.reads(">>> ")

    def leaves(self) -> int:
        """Type Ctrl-D and return the exit status."""
        self.screen.sendeof()
        return self.ended()

    def ended(self) -> int:
        """Wait for the end and return the exit status."""
        self.screen.expect(pexpect.EOF)
        self.screen.close()
        assert self.screen.exitstatus is not None
        return self.screen.exitstatus


@pytest.fixture
def terminal(daemon: DaemonProcess, tmp_path: Path) -> Iterator[Terminal]:
    """A conversation that has begun."""
    terminal = Terminal(daemon, tmp_path, "demo-a", "--temperature", "0")
    terminal.reads(">>> ")
    yield terminal
    terminal.screen.close(force=True)


def test_a_small_conversation(terminal: Terminal) -> None:
    """The second answer needs the first turn, and /clear forgets it."""
    terminal.asks("My favourite colour is turquoise.", "I will remember your colour.")
    terminal.asks("What is my favourite colour?", "Your favourite colour is turquoise.")
    terminal.screen.sendline("/clear")
    terminal.reads(">>> ")
    terminal.asks("What is my favourite colour?", "You have not told me your favourite colour.")
    assert terminal.leaves() == 0


def test_the_system_message_can_change(terminal: Terminal) -> None:
    """/system gives the model another name from the next question on."""
    terminal.asks("What is your name?", "My name is Demo A.")
    terminal.screen.sendline("/clear")
    terminal.reads(">>> ")
    terminal.screen.sendline("/system You are Ada.")
    terminal.reads(">>> ")
    terminal.asks("What is your name?", "My name is Ada.")
    terminal.screen.sendline("/bye")
    assert terminal.ended() == 0


def test_ctrl_c_stops_an_answer_and_not_the_conversation(
    terminal: Terminal, daemon: DaemonProcess
) -> None:
    """The engine is idle afterwards, and the stopped turn is not part of the conversation."""
    terminal.screen.sendline("Count from 1 to 100.")
    terminal.reads("3, 4, ")
    terminal.screen.sendintr()
    terminal.reads(">>> ")
    wait_for(lambda: daemon.ps()[0]["in_use"] is False, "the engine to stop")
    terminal.asks("What is your name?", "My name is Demo A.")
    assert terminal.leaves() == 0


def test_several_lines_and_commands(terminal: Terminal) -> None:
    """Triple quotes hold a text of several lines; unknown commands and /help explain themselves."""
    terminal.screen.sendline('"""What is')
    terminal.reads("... ")
    terminal.screen.sendline('your name?"""')
    terminal.reads(">>> ")
    terminal.asks("/nonsense", "no such command: /nonsense")
    terminal.asks("/help", "forget the conversation")
    terminal.screen.sendintr()  # drops the line that is being typed
    terminal.reads(">>> ")
    assert terminal.leaves() == 0


def test_the_history_is_the_users_alone(terminal: Terminal, tmp_path: Path) -> None:
    """What was typed is kept in a file that nobody else can read."""
    terminal.asks("Who are you?", "I am Demo A, a small demo model served by runnerd.")
    assert terminal.leaves() == 0
    file = tmp_path / "runnerd" / "history"
    assert "Who are you?" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_wrong_name_is_told_before_anything_is_typed(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    """The command ends with the daemon's reason."""
    terminal = Terminal(daemon, tmp_path, "nobody")
    terminal.reads("model 'nobody' not found")
    assert terminal.ended() == 1


def test_import_shows_bars(daemon: DaemonProcess, tmp_path: Path) -> None:
    """On a terminal the files and their sizes are shown."""
    command = ["-m", "runnerd", "--host", f"unix://{daemon.socket}", "import", str(_DEMO)]
    screen = pexpect.spawn(
        sys.executable,
        [*command, "--tag", "again"],
        encoding="utf-8",
        timeout=60 * SECONDS,
        dimensions=(24, 120),
    )
    screen.expect_exact("demo-a.gguf")
    screen.expect(r"764\.\d/764\.\d kB")
    screen.expect(r"imported .*again")
    screen.expect(pexpect.EOF)
    screen.close()
    assert screen.exitstatus == 0
