"""The commands of the documents: those in blocks of `sh` are run, all others can be typed.

What cannot be run is marked in its document, with the reason: `<!-- not run: REASON -->` above it.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from runnerd.cli.arguments import parse
from tests.integration.test_adoption import ollama_folder
from tests.rules.sources import sources
from tests.support.daemon import DaemonProcess, running

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
_DEMO = ROOT / "demo"
_BLOCK = re.compile(r"(?:<!-- not run: (?P<reason>[^>]*) -->\n)?```sh\n(?P<text>.*?)```", re.DOTALL)
_MARK = re.compile(r"<!-- not run: [^>]* -->\n(?!```sh)")


_MODELS = (
    ("demo-a", "mine"),
    ("demo-a", "ai/smollm2"),
    ("demo-embed", "demo-embed"),
    ("demo-rerank", "demo-rerank"),
)


class Block(NamedTuple):
    """A block of commands, and why it is not run where it is not."""

    text: str
    reason: str | None


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in its order."""
    return [Block(found["text"], found["reason"]) for found in _BLOCK.finditer(page.read_text())]


def lines(page: Path) -> Iterator[str]:
    """Every `runnerd ...` of a page's indented code, without what is said about it."""
    for line in page.read_text().splitlines():
        if line.startswith("    runnerd "):
            yield re.split(r"\s{2,}", line.strip())[0]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon for all pages."""
    with running(tmp_path_factory.mktemp("documents")) as daemon:
        yield daemon


@pytest.fixture
def environment(daemon: DaemonProcess, tmp_path: Path, page: Path) -> dict[str, str]:
    """What a page assumes: the models and files that it names, and the command."""
    assert daemon.http.delete("/models/purge?all=true&force=true").status_code == 200
    for name, tag in _MODELS:
        if f"import model.gguf --tag {tag}" not in page.read_text():
            daemon.import_model(_DEMO / f"{name}.gguf", tag)
    folder = tmp_path / "here"
    below = folder / "folder" / "below"
    studio = tmp_path / ".lmstudio" / "models" / "publisher" / "model"
    for path in (below / "third.gguf", studio / "fourth.gguf", folder / "other.gguf"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((_DEMO / "demo-b.gguf").read_bytes())
    (folder / "model.gguf").write_bytes((_DEMO / "demo-a.gguf").read_bytes())
    command = tmp_path / "bin" / "runnerd"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m runnerd "$@"\n')
    command.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "OLLAMA_MODELS": str(ollama_folder(tmp_path / "ollama")),
        "RUNNERD_HOST": f"unix://{daemon.socket}",
        "SOCK": str(daemon.socket),
        "RUNNERD_LISTEN": daemon.address.removeprefix("http://"),
        "PYTHONPATH": str(ROOT),
    }


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda p: p.name)
def test_commands_do_what_they_say(
    page: Path, daemon: DaemonProcess, environment: dict[str, str], tmp_path: Path
) -> None:
    """One block after the other, as somebody who reads the page types them."""
    for block in blocks(page):
        if block.reason is not None:
            assert block.reason.strip()
            continue
        done = subprocess.run(
            ["sh", "-eu", "-c", block.text],
            env=environment,
            cwd=tmp_path / "here",
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=300,
        )
        assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
    assert [runner["failure"] for runner in daemon.ps() if runner["failure"]] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_can_be_typed(page: Path) -> None:
    """Each `runnerd ...` has arguments that there are; those that are run, too."""
    text = "\n".join(block.text for block in blocks(page)).replace("\\\n", " ")
    found = [line for line in text.splitlines() if line.startswith("runnerd ")]
    for line in [*lines(page), *found]:
        if "..." in line or re.search(r"\[\w+\||\w\|\w", line):
            continue  # several commands in one
        words = shlex.split(re.split(r" [|<>] ", line)[0], comments=True)
        assert _status(words[1:]) == 0, f"{page.name}: {line}"


def _status(words: list[str]) -> object:
    """What the command would say of its arguments: 0 if they are right."""
    try:
        parse(words)
    except SystemExit as ended:
        return ended.code
    return 0


def test_marks_stand_above_blocks() -> None:
    """None has lost its block."""
    assert [page.name for page in PAGES if _MARK.search(page.read_text())] == []


_NOT_OURS = {"Address already in use", "exceeds the available context size"}
"""Messages of the system's and the engine's."""


def test_messages_are_said() -> None:
    """What troubleshooting.md explains is what the daemon and the command say."""
    said = "\n".join(_texts())
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    for message in re.findall(r"^\| (?:\d+, )?`([^`]+)`", page, re.MULTILINE):
        for part in message.split("..."):
            words = part.strip()
            if " " in words and words not in _NOT_OURS:
                assert words in said, f"nobody says {words!r}"


def _texts() -> Iterator[str]:
    """Every text in the code, with a # for what is put in."""
    for source in sources():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.JoinedStr):
                parts = [v.value if isinstance(v, ast.Constant) else "#" for v in node.values]
                yield "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_links_lead_somewhere() -> None:
    """Every page that another one names is there."""
    for page in PAGES:
        for target in re.findall(r"\]\(([\w./-]+\.\w+)(?:#[\w-]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_what_openapi_promises_is_there(daemon: DaemonProcess) -> None:
    """Served to everybody, as JSON."""
    response = daemon.http.get("/openapi.json")
    assert response.headers["content-type"].startswith("application/json")
    assert "/v1/chat/completions" in json.loads(response.text)["paths"]
