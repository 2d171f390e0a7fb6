"""The real `ollama` command against the daemon, where it is installed: what people type.

It is Go (`go install github.com/ollama/ollama@v0.11.4`) and takes minutes to build, so these tests
are skipped where it is missing; what it asks for is tested with the Python client as well.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import wait_for

_OLLAMA = shutil.which("ollama")
_DEMO = Path(__file__).parents[2] / "demo"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
_MODELFILE = """\
FROM {weights}
PARAMETER temperature 0
PARAMETER stop "<|im_end|>"
PARAMETER num_ctx 1024
SYSTEM You are Ada.
LICENSE Be kind.
"""

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(_OLLAMA is None, reason="the ollama command is not installed"),
]


class Command:
    """Runs the command against one daemon."""

    def __init__(self, daemon: DaemonProcess, home: Path) -> None:
        self.environment = {**os.environ, "OLLAMA_HOST": daemon.address, "HOME": str(home)}

    def __call__(self, *arguments: str, fails: bool = False) -> str:
        """Return what it prints."""
        assert _OLLAMA is not None
        done = subprocess.run(
            [_OLLAMA, *arguments],
            env=self.environment,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=90,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stderr
        return _ESCAPES.sub("", done.stdout + done.stderr)


@pytest.fixture(scope="module")
def ollama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """The command, with a model that it has made of a Modelfile."""
    root = tmp_path_factory.mktemp("command")
    with running(root / "daemon") as daemon:
        command = Command(daemon, root)
        modelfile = root / "Modelfile"
        modelfile.write_text(_MODELFILE.format(weights=_DEMO / "demo-a.gguf"))
        assert "success" in command("create", "ada", "-f", str(modelfile))
        yield command


def test_run_list_ps_stop(ollama: Command) -> None:
    """A question and its response, what is there, what is loaded, and its end."""
    assert ollama("run", "ada", "What is your name?").strip() == "My name is Ada."
    assert "eval rate" in ollama("run", "ada", "--verbose", "What is your name?")
    assert "ada:latest" in ollama("list")
    loaded = ollama("ps")
    assert "ada:latest" in loaded
    assert "100% CPU" in loaded or "GPU" in loaded
    assert "1024" in loaded
    ollama("stop", "ada")
    wait_for(lambda: "ada:latest" not in ollama("ps"), "the model to be gone")


def _written(text: str) -> str:
    """Return a pattern for a text that a terminal shows, whatever it is told between letters."""
    return r"(?:\x1b\[[0-9;?]*[a-zA-Z])*".join(map(re.escape, text))


def test_a_conversation(ollama: Command) -> None:
    """Turn by turn, as people sit before it."""
    assert _OLLAMA is not None
    child = pexpect.spawn(
        _OLLAMA, ["run", "ada"], env=ollama.environment, encoding="utf-8", timeout=60
    )
    try:
        child.expect(">>> ")
        child.send("What is your name?\r")
        child.expect(_written("My name is Ada."))
        child.expect(">>> ")
        child.send("/show system\r")
        child.expect(_written("You are Ada."))
        child.expect(">>> ")
        child.send("/bye\r")
        child.expect(pexpect.EOF)
    finally:
        child.close(force=True)


def test_show(ollama: Command) -> None:
    """Each part, and a Modelfile that makes the model again."""
    shown = ollama("show", "ada")
    assert "690K" in shown or "689.66K" in shown  # by version
    for word in ("llama", "Q8_0", "completion", "tools", "num_ctx", "You are Ada."):
        assert word in shown
    assert ollama("show", "ada", "--system").strip() == "You are Ada."
    assert ollama("show", "ada", "--license").strip() == "Be kind."
    assert "<|im_start|>" in ollama("show", "ada", "--template")


def test_a_shown_modelfile_makes_the_model_again(ollama: Command, tmp_path: Path) -> None:
    """As people do to change a line of it."""
    text = ollama("show", "ada", "--modelfile").replace("You are Ada.", "You are Bob.")
    (tmp_path / "Modelfile").write_text(text)
    assert "success" in ollama("create", "bob", "-f", str(tmp_path / "Modelfile"))
    assert ollama("run", "bob", "What is your name?").strip() == "My name is Bob."
    ollama("rm", "bob")


def test_copy_and_remove(ollama: Command) -> None:
    """Names come and go; what is not there is an error."""
    assert "copied" in ollama("cp", "ada", "eve")
    assert "eve:latest" in ollama("list")
    assert "deleted" in ollama("rm", "eve")
    assert "eve:latest" not in ollama("list")
    assert "not found" in ollama("rm", "eve", fails=True)
    assert "internal address" in ollama("pull", "http://127.0.0.1:1/x.gguf", fails=True)
