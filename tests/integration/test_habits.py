"""Commands that people bring along from Ollama, and names that are not taken unasked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import DaemonProcess, running

pytestmark = pytest.mark.engine

_DEMO = Path(__file__).parents[2] / "demo"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with the demo models."""
    with running(tmp_path_factory.mktemp("habits")) as daemon:
        for name in ("demo-a", "demo-embed", "demo-rerank"):
            daemon.import_model(_DEMO / f"{name}.gguf", name)
        yield daemon


def runnerd(daemon: DaemonProcess, *arguments: str, text: str = "") -> tuple[int, str, str]:
    """Run one command; return its exit status and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "runnerd", "--host", f"unix://{daemon.socket}", *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


def test_create_by_a_modelfile(daemon: DaemonProcess, tmp_path: Path) -> None:
    """Of a model that is here, and of a file, which is sent."""
    modelfile = tmp_path / "Modelfile"
    modelfile.write_text('FROM demo-a\nPARAMETER temperature 0\nSYSTEM """You are Ada."""\n')
    status, _, err = runnerd(daemon, "create", "ada", "-f", str(modelfile))
    assert status == 0, err
    assert runnerd(daemon, "run", "ada", "What is your name?")[1] == "My name is Ada.\n"
    (tmp_path / "weights.gguf").write_bytes((_DEMO / "demo-b.gguf").read_bytes())
    modelfile.write_text("FROM ./weights.gguf\n")
    code, _, errors = runnerd(daemon, "create", "ada", "-f", str(modelfile))
    assert (code, "--force takes it from there" in errors) == (1, True)
    assert runnerd(daemon, "create", "ada", "-f", str(modelfile), "--force")[0] == 0
    assert runnerd(daemon, "rm", "ada")[0] == 0
    modelfile.write_text("FROM ./none.gguf\n")
    assert "no such file" in runnerd(daemon, "create", "x", "-f", str(modelfile))[2]
    assert "cannot be read" in runnerd(daemon, "create", "x", "-f", str(tmp_path / "none"))[2]


def test_cp_and_stop(daemon: DaemonProcess) -> None:
    """Under Ollama's names, for several at once."""
    assert runnerd(daemon, "cp", "demo-a", "copy-1", "copy-2")[0] == 0
    assert runnerd(daemon, "load", "copy-1")[0] == 0
    assert runnerd(daemon, "stop", "copy-1")[1] == "unloaded 1\n"
    code, _, errors = runnerd(daemon, "cp", "demo-embed", "copy-1")
    assert (code, "copy-1 is a name of sha256:" in errors) == (1, True)
    assert runnerd(daemon, "cp", "demo-a", "copy-1")[0] == 0  # it has that name already
    assert runnerd(daemon, "rm", "copy-1", "copy-2")[0] == 0


def test_vectors_and_ranks(daemon: DaemonProcess) -> None:
    """Of arguments, and of lines."""
    status, out, err = runnerd(daemon, "embed", "demo-embed", "one text", "another")
    assert status == 0, err
    vectors = [json.loads(line) for line in out.splitlines()]
    assert len(vectors) == 2
    assert runnerd(daemon, "embed", "demo-embed", text="one text\n\nanother\n")[1] == out
    assert len(json.loads(runnerd(daemon, "embed", "demo-embed", "x", "--json")[1])["data"]) == 1
    assert "there is no text" in runnerd(daemon, "embed", "demo-embed")[2]
    status, out, err = runnerd(daemon, "rerank", "demo-rerank", "a question", text="a\nb\n")
    assert status == 0, err
    assert "SCORE" in out
    results = json.loads(runnerd(daemon, "rerank", "demo-rerank", "q", "a", "b", "--json")[1])
    scores = [result["relevance_score"] for result in results["results"]]
    assert scores == sorted(scores, reverse=True)


def test_models_are_loaded_for_what_they_are_made_for(daemon: DaemonProcess) -> None:
    """Several at once, each in its own mode."""
    assert runnerd(daemon, "load", "demo-embed", "demo-rerank")[0] == 0
    modes = {runner["model_name"]: runner["mode"] for runner in daemon.ps()}
    assert modes.items() >= {"demo-embed": "embedding", "demo-rerank": "reranking"}.items()
    assert runnerd(daemon, "unload", "--all", "--json")[0] == 0


def test_what_is_configured_is_shown(daemon: DaemonProcess) -> None:
    """`--show`, for people and for programs."""
    assert runnerd(daemon, "configure", "demo-a", "--context-size", "256")[0] == 0
    assert "context-size = 256" in runnerd(daemon, "configure", "demo-a", "--show")[1]
    [entry] = json.loads(runnerd(daemon, "configure", "demo-a", "--show", "--json")[1])
    assert entry["Config"]["context-size"] == 256
    assert runnerd(daemon, "configure", "demo-a", "--unset", "context-size")[0] == 0


def test_several_models_are_shown(daemon: DaemonProcess) -> None:
    """One after the other; as JSON a list of them."""
    out = runnerd(daemon, "show", "demo-a", "demo-embed")[1]
    assert out.count("architecture:") == 2
    assert len(json.loads(runnerd(daemon, "show", "demo-a", "demo-embed", "--json")[1])) == 2


def test_names_that_are_nearly_right(daemon: DaemonProcess) -> None:
    """A model that there is not is told with those that are spelt alike."""
    for command in ("show", "load", "run", "rm"):
        code, _, errors = runnerd(
            daemon, command, "demo-ab", *(("Hi",) if command == "run" else ())
        )
        assert code == 1
        assert "did you mean demo-a" in errors, (command, errors)


def test_addresses_and_versions(daemon: DaemonProcess) -> None:
    """RUNNERD_HOST without a scheme, as OLLAMA_HOST; `--version`."""
    address = daemon.address.removeprefix("http://")
    done = subprocess.run(
        [sys.executable, "-m", "runnerd", "ls"],
        env={**os.environ, "RUNNERD_HOST": address},
        capture_output=True,
        text=True,
    )
    assert "demo-a" in done.stdout, done.stderr
    assert runnerd(daemon, "--version")[1].startswith("runnerd ")
