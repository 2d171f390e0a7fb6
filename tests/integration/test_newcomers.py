"""What somebody stumbles over who uses the commands for the first time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_cli import runnerd
from tests.support.chats import DEMO, PROMPT, command
from tests.support.daemon import DaemonProcess, running
from tests.support.tmux import screen
from tests.support.waiting import SECONDS

pytestmark = pytest.mark.engine

_CHAT = ["run", "mine", "Hello", "--max-tokens", "2"]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with one model, and a registry that nobody can reach."""
    environment = {"RUNNERD_DEFAULT_REGISTRY": "127.0.0.1:1"}
    with running(tmp_path_factory.mktemp("newcomers"), env=environment) as daemon:
        daemon.import_model(DEMO, "mine")
        yield daemon


@pytest.mark.parametrize("name", ["fit", "pull", "load", "show", "rm", "configure"])
def test_a_mistyped_name_is_told_with_what_may_have_been_meant(
    daemon: DaemonProcess, name: str
) -> None:
    """First of all, also where the name was looked for in a registry that cannot be reached."""
    status, out, err = runnerd(daemon, name, "mien")
    assert (status, out) == (1, "")
    reason, meant, _ = err.partition("did you mean mine?")
    assert meant, err
    assert reason.startswith("runnerd: model 'mien' ")
    if name in ("fit", "pull"):
        assert "Looked for elsewhere: " in err
        assert runnerd(daemon, name, "something-else")[2].startswith(
            "runnerd: model 'something-else' is not here; looked for elsewhere: "
        )


def test_what_is_here_stays_where_a_pull_of_it_fails(daemon: DaemonProcess) -> None:
    """It is said, so that nobody looks for it in vain."""
    status, _, err = runnerd(daemon, "pull", "mine")
    assert (status, "; mine stays as it is here" in err) == (1, True), err


def test_a_daemon_that_is_there_already(daemon: DaemonProcess) -> None:
    """`make serve` a second time asks that one, and speaks of no Ctrl-C that would stop it."""
    done = subprocess.run(
        [sys.executable, "-m", "runnerd", "serve", "--first-run"],
        env={**os.environ, "RUNNERD_RUNTIME_DIR": str(daemon.runtime_dir)},
        capture_output=True, text=True, timeout=120 * SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "answers at" in done.stdout
    assert "stays; none was started here" in done.stdout
    assert "Ctrl-C" not in done.stdout


def test_loads_are_no_chats(daemon: DaemonProcess) -> None:
    """In `requests`, of whichever API the load was."""
    before = len(json.loads(runnerd(daemon, "requests", "--json")[1]))
    assert runnerd(daemon, "load", "mine")[0] == 0
    assert runnerd(daemon, "load", "mine", "--mode", "completion")[0] == 0
    assert runnerd(daemon, "load", "mien")[0] == 1
    assert runnerd(daemon, *_CHAT)[0] == 0
    assert runnerd(daemon, *_CHAT, "--keep-alive", "5m")[0] == 0
    assert runnerd(daemon, *_CHAT, "--keep-alive", "0")[0] == 0
    found = json.loads(runnerd(daemon, "requests", "--json")[1])
    assert [each["operation"] for each in found[before:]] == [
        *("load", "load"),  # what is not here is no request
        *("load", "chat/completions"),
        *("load", "chat/completions"),
        *("load", "chat/completions", "unload"),
    ]


_SHOWN = (
    ("ls",), ("show", "mine"), ("ps",), ("requests",), ("df",), ("session",),
    ("session", "show", "talk"), ("configure", "mine", "--show"), ("tag", "mine", "other:latest"),
    ("rm", "other"), ("jobs",), ("queues",), ("whoami",), ("audit",), ("catalog",),
    ("user", "show", "ann"), ("user", "list"), ("key", "list"), ("approvals",), ("usage",),
    ("session", "rm", "talk"), ("unload", "mine"), ("load", "mine"),
)  # fmt: skip


def test_names_and_times_are_shown_in_one_way(daemon: DaemonProcess) -> None:
    """As people type them and as their clocks say; programs get both in full."""
    assert runnerd(daemon, "session", "prompt", "talk", "Hello", "--model", "mine")[0] == 0
    assert runnerd(daemon, "user", "add", "ann", "--expires", "30d")[0] == 0
    assert runnerd(daemon, "submit", "mine", "Hello")[0] == 0
    assert runnerd(daemon, "configure", "mine", "--keep-alive", "5m")[0] == 0
    for arguments in _SHOWN:
        status, out, err = runnerd(daemon, *arguments)
        assert status == 0, err
        assert out.strip(), arguments
        assert not re.search(r"\bai/mine|\bai/other|:latest", out), (arguments, out)
        if arguments != ("audit",):  # which repeats what was said, to the letter
            assert not re.search(r"\dT\d\d:\d\d", out), (arguments, out)
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d uid ", runnerd(daemon, "audit")[1])
    assert "ai/mine:latest" in runnerd(daemon, "ls", "--json")[1]


def test_a_field_that_there_is_not_is_told_in_a_line(daemon: DaemonProcess) -> None:
    """With the one that may be meant, instead of all that there are."""
    for name, meant in (("context_sise", "context-size"), ("KEEP-ALIVE", "keep_alive")):
        status, _, err = runnerd(daemon, "configure", "mine", "--set", f"{name}=1")
        assert (status, err) == (1, f"runnerd: unknown fields: '{name}' (did you mean {meant}?)\n")
    assert runnerd(daemon, "configure", "mine", "--set", "WRONG=1")[2] == (
        "runnerd: unknown fields: 'WRONG' (docs/configuration.md has all that there are)\n"
    )


def test_show_is_short(daemon: DaemonProcess) -> None:
    """The template is told by its length and printed on demand; the context has one name."""
    out = runnerd(daemon, "show", "mine")[1]
    names = [line.partition(":")[0] for line in out.splitlines()]
    assert len(names) == len(set(names)) < 20
    assert {"names", "context", "template", "fits"} <= set(names)
    assert not {"context_size", "context_length", "chat_template", "size_bytes"} & set(names)
    template = runnerd(daemon, "show", "mine", "--template")[1]
    assert template.startswith("{%")
    assert re.search(rf"^template: +{len(template) - 1} characters ", out, re.MULTILINE), out


def test_words_stay_whole_on_a_narrow_terminal(daemon: DaemonProcess, tmp_path: Path) -> None:
    """Lines end between words, while the response streams."""
    arguments = command(daemon, "mine", "--temperature", "0")
    with screen(arguments, {"XDG_STATE_HOME": str(tmp_path)}, columns=40) as terminal:
        terminal.awaits(PROMPT)
        terminal.type("Count from 1 to 100.")
        terminal.reads("99, 100")
        terminal.awaits(PROMPT)
        said = terminal.text().partition("Count from 1 to 100.")[2].rpartition(PROMPT.strip())[0]
    lines = said.strip().splitlines()
    assert len(lines) > 5
    assert all(len(line) <= 40 for line in lines)
    assert [line for line in lines if not re.fullmatch(r"(\d+, )*\d+[,.]?", line.strip())] == []
    assert " ".join(said.split()).rstrip(".") == ", ".join(map(str, range(1, 101)))
