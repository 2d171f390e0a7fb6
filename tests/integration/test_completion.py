"""Completion in the shells themselves, where they are installed: bash, zsh and fish."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from tests.support.chats import DEMO
from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import SECONDS

pytestmark = pytest.mark.engine

_ROOT = Path(__file__).parents[2]
_BASH = """
source <(runnerd completion bash)
COMP_LINE=$1 COMP_POINT=${#1}
compopt() { echo files; }
_runnerd
printf '%s\\n' "${COMPREPLY[@]}"
"""
_FISH = 'runnerd completion fish | source; complete -C "$argv[1]"'
_ZSH = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
read_until() { local piece all=""; while zpty -r shell piece; do
  all+=$piece; [[ $all == *$1* ]] && { print -r -- $all; return; }; done; }
zpty -w shell 'PS1=; setopt no_beep; autoload -Uz compinit; compinit -u -D'
zpty -w shell 'source <(runnerd completion zsh)'
zpty -w shell 'compadd() { builtin compadd -O found "$@"; print -rl -- "" "<<" $found ">>"; }'
zpty -w shell 'print -r -- rea""dy'
read_until ready > /dev/null
zpty -w -n shell "$1"$'\t'
read_until '>>'
zpty -d shell
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with a model of two names."""
    with running(tmp_path_factory.mktemp("completion")) as daemon:
        daemon.import_model(DEMO, "mine")
        daemon.import_model(DEMO, "mellow:8b")
        yield daemon


Offered = Callable[[str], set[str]]


@pytest.fixture(params=["bash", "zsh", "fish"])
def offered(request: pytest.FixtureRequest, daemon: DaemonProcess, tmp_path: Path) -> Offered:
    """What a shell offers behind a line."""
    shell = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    command = tmp_path / "runnerd"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m runnerd "$@"\n')
    command.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "TERM": "dumb",
        "RUNNERD_HOST": f"unix://{daemon.socket}",
        "PYTHONPATH": str(_ROOT),
    }
    script = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}[shell]
    name = [] if shell == "fish" else [shell]

    def ask(line: str) -> set[str]:
        done = subprocess.run(
            [shell, "-c", script, *name, line], env=environment, cwd=tmp_path,
            capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        text = done.stdout
        if shell == "zsh":
            text = text.rpartition("<<")[2].partition(">>")[0]
        return {each.strip().partition("\t")[0] for each in text.splitlines() if each.strip()}

    return ask


def test_what_can_be_typed_next(offered: Offered) -> None:
    """Commands, commands below them, options, their values, and models by name."""
    assert {"run", "rm", "rerank", "restore"} <= offered("runnerd r")
    assert offered("runnerd user s") == {"show"}
    assert offered("runnerd run mine --keep") == {"--keep-alive"}
    assert offered("runnerd load --mode e") == {"embedding"}
    assert offered("runnerd show m") == {"mine", "mellow:8b"}
    assert offered("runnerd show mellow:8") in ({"mellow:8b"}, {"8b"})  # bash adds what is missing


def test_bash_completes_names_with_colons(daemon: DaemonProcess, tmp_path: Path) -> None:
    """At a real prompt, where readline takes a colon for the end of a word."""
    program = f"{shlex.quote(sys.executable)} -m runnerd --host unix://{daemon.socket}"
    bash = pexpect.spawn(
        "bash", ["--norc", "--noprofile", "-i"], encoding="utf-8", timeout=60 * SECONDS,
        env={**os.environ, "PS1": "", "TERM": "dumb", "HISTFILE": "", "PYTHONPATH": str(_ROOT)},
        dimensions=(24, 200), cwd=tmp_path,
    )  # fmt: skip
    try:
        bash.sendline(f'runnerd() {{ {program} "$@"; }}; source <(runnerd completion bash)')
        bash.sendline("echo rea''dy")
        bash.expect_exact("ready")
        for typed in ("runnerd show mellow:\t", "runnerd show mel\t"):
            bash.send(typed)
            bash.expect_exact("runnerd show mellow:8b ")
            bash.sendcontrol("u")
        bash.sendline("exit")
        bash.expect(pexpect.EOF)
    finally:
        bash.close()
