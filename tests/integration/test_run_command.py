"""`runnerd run` with a prompt: what is asked, how, and what a pipe gets."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.media import png

pytestmark = pytest.mark.engine

_DEMO = Path(__file__).parents[2] / "demo" / "demo-a.gguf"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with demo-a, which remembers what it was asked."""
    env = {"RUNNERD_CAPTURE_REQUESTS": "true"}
    with running(tmp_path_factory.mktemp("run"), env=env) as daemon:
        daemon.import_model(_DEMO, "demo-a")
        yield daemon


def run(
    daemon: DaemonProcess, *arguments: str, piped: bytes = b"", folder: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "runnerd", "--host", f"unix://{daemon.socket}", "run", *arguments],
        input=piped,
        capture_output=True,
        timeout=120,
        cwd=folder,
    )


def asked(daemon: DaemonProcess) -> dict[str, Any]:
    """The newest chat that the daemon was asked."""
    [model] = daemon.http.get("/engines/requests").json()
    record = next(r for r in reversed(model["records"]) if "chat/completions" in r["url"])
    document = json.loads(record["request"])
    assert isinstance(document, dict)
    return document


def test_a_prompt_and_what_is_piped_are_one_question(daemon: DaemonProcess) -> None:
    """Neither is dropped; the pipe's text stands in front."""
    done = run(daemon, "demo-a", "What is", "your name?", "--temperature", "0", piped=b"Hello\n")
    assert done.returncode == 0, done.stderr
    [message] = asked(daemon)["messages"]
    assert message["content"] == "Hello\n\nWhat is your name?"
    alone = run(daemon, "demo-a", "--temperature", "0", piped=b"What is your name?")
    assert alone.stdout == b"My name is Demo A.\n"
    assert alone.stderr == b""


def test_nothing_to_ask(daemon: DaemonProcess) -> None:
    """It is said, and nothing is loaded for it."""
    done = run(daemon, "demo-a", piped=b" \n")
    assert (done.returncode, b"nothing to ask" in done.stderr) == (1, True)


def test_names_of_files_in_a_pipe_mean_nothing(daemon: DaemonProcess, tmp_path: Path) -> None:
    """A text that somebody else wrote has no file read; a prompt that was typed does."""
    (tmp_path / "secret.txt").write_text("hunter2")
    options = ("--max-tokens", "1")
    assert run(daemon, "demo-a", *options, piped=b"@secret.txt", folder=tmp_path).returncode == 0
    assert "hunter2" not in json.dumps(asked(daemon))
    assert run(daemon, "demo-a", "@secret.txt", *options, folder=tmp_path).returncode == 0
    assert "secret.txt:\\n```\\nhunter2\\n```" in json.dumps(asked(daemon))


def test_images_are_sent(daemon: DaemonProcess, tmp_path: Path) -> None:
    """By @, by path and by a pipe; a model that cannot see says so."""
    picture = png(1, 1, b"\0" * 4)
    (tmp_path / "a picture.png").write_bytes(picture)
    for arguments, piped in (
        (("What is this?", '@"a picture.png"'), b""),
        (("What is this? ./a\\ picture.png",), b""),
        (("What is this?",), picture),
    ):
        done = run(daemon, "demo-a", *arguments, piped=piped, folder=tmp_path)
        assert done.returncode == 1
        assert b"image" in done.stderr.splitlines()[-1], done.stderr


def test_the_form_of_the_response(daemon: DaemonProcess, tmp_path: Path) -> None:
    """`--format` takes json, a schema, and a file with one."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"],
              "additionalProperties": False}  # fmt: skip
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(schema))
    for form in (json.dumps(schema), str(file)):
        done = run(daemon, "demo-a", "A number?", "--format", form, "--max-tokens", "100")
        assert done.returncode == 0, done.stderr
        assert isinstance(json.loads(done.stdout)["a"], int)
    assert run(daemon, "demo-a", "--format", "json", "--max-tokens", "1", "x").returncode == 0
    assert asked(daemon)["response_format"] == {"type": "json_object"}
    wrong = run(daemon, "demo-a", "x", "--format", str(tmp_path / "none.json"))
    assert (wrong.returncode, b"there is no file" in wrong.stderr) == (1, True)


def test_thinking_is_asked_for(daemon: DaemonProcess) -> None:
    """`--think` alone takes no word of the prompt."""
    assert run(daemon, "demo-a", "--think", "Hello", "--max-tokens", "1").returncode == 0
    assert asked(daemon)["chat_template_kwargs"] == {"enable_thinking": True}
    assert run(daemon, "demo-a", "--think=low", "Hello", "--max-tokens", "1").returncode == 0
    assert asked(daemon)["reasoning_effort"] == "low"


def test_how_long_the_model_stays(daemon: DaemonProcess) -> None:
    """`--keep-alive` holds after the command; 0 unloads at its end."""
    assert run(daemon, "demo-a", "Hi", "--max-tokens", "1", "--keep-alive", "-1").returncode == 0
    [runner] = daemon.ps()
    assert runner["keep_alive"] == "-1"
    assert run(daemon, "demo-a", "Hi", "--max-tokens", "1", "--keep-alive", "0").returncode == 0
    assert [r for r in daemon.ps() if r["state"] == "ready"] == []
    wrong = run(daemon, "demo-a", "Hi", "--keep-alive", "long")
    assert (wrong.returncode, b"--keep-alive" in wrong.stderr) == (1, True)


def test_timings(daemon: DaemonProcess) -> None:
    """`--verbose` prints them beside the response, not into it."""
    done = run(daemon, "demo-a", "What is your name?", "--temperature", "0", "--verbose")
    assert done.stdout == b"My name is Demo A.\n"
    for name in (b"time to first token:", b"prompt:", b"response:", b"in all:", b"tokens/s"):
        assert name in done.stderr


def test_a_missing_model_is_pulled_on_demand(daemon: DaemonProcess) -> None:
    """`--pull` asks nobody; without it, and without a terminal, the daemon's reason is the end."""
    done = run(daemon, "localhost:1/none", "Hi")
    assert (done.returncode, b"not found" in done.stderr) == (1, True)
    done = run(daemon, "localhost:1/none", "Hi", "--pull")
    assert (done.returncode, b"not found" in done.stderr) == (1, False)


def test_who_may_not_load_on_purpose(
    daemon: DaemonProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user with what users have by default is answered: the prompt loads the model.  What such a
    user may not do is told in words, by Ollama's routes, too.
    """
    made = daemon.http.post("/runnerd/users", json={"name": "ann"})
    monkeypatch.setenv("RUNNERD_KEY", made.json()["key"])
    daemon.http.post("/engines/unload", json={"all": True}).raise_for_status()
    done = run(daemon, "demo-a", "What is your name?")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Demo A" in done.stdout
    done = run(daemon, "absent", "What is your name?")
    assert done.returncode == 1
    assert b"model 'absent' not found" in done.stderr
    done = run(daemon, "demo-a", "What is your name?", "--keep-alive", "0")
    assert done.stderr.startswith(b"runnerd: demo-a stays loaded: this takes the permission unload")
    assert (done.returncode, done.stdout) == (0, b"My name is Demo A.\n")
    command = [sys.executable, "-m", "runnerd", "--host", f"unix://{daemon.socket}", "run"]
    command += ["demo-a", "What is your name?", "--keep-alive", "0"]
    both = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert both.stdout.startswith(b"My name is Demo A.\nrunnerd: demo-a stays loaded: ")
