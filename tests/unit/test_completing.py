"""What could be typed next."""

from __future__ import annotations

import subprocess

import pytest

from runnerd.cli.arguments import make_parser
from runnerd.cli.completing import _SCRIPTS, FILES, candidates


def offered(*words: str) -> list[str]:
    """What is offered behind these words, with two models here."""
    return candidates(make_parser(), words, lambda: ["demo-a", "llama3:8b"])


def test_commands_and_what_is_below_them() -> None:
    """By their beginning."""
    assert {"run", "rm", "rerank", "restore"} <= set(offered("r"))
    assert set(offered("user", "")) == {"add", "list", "show", "edit", "rm"}
    assert offered("completion", "z") == ["zsh"]
    assert offered("nonsense", "") == []


def test_options_and_their_values() -> None:
    """Where a value is expected, nothing else is offered."""
    assert "--keep-alive" in offered("run", "demo-a", "--k")
    assert offered("load", "--mode", "e") == ["embedding"]
    assert offered("run", "--seed", "") == []
    assert offered("run", "--system=x", "d") == ["demo-a"]
    assert "--host" in offered("--")


def test_models_and_files() -> None:
    """Models as they are called here, also several; files are the shell's own business."""
    assert offered("show", "") == ["demo-a", "llama3:8b"]
    assert offered("rm", "demo-a", "l") == ["llama3:8b"]
    assert offered("import", "") == [FILES]
    assert offered("create", "x", "-f", "") == [FILES]
    assert offered("embed", "demo-a", "te") == []


def test_options_of_every_command_are_offered() -> None:
    """The whole tree can be walked."""
    for command in offered(""):
        assert offered(command, "--") or offered(command, ""), command


@pytest.mark.parametrize(("shell", "check"), [("bash", ("bash", "-n"))])
def test_scripts_are_scripts(shell: str, check: tuple[str, ...]) -> None:
    """As far as the shell is here."""
    subprocess.run(check, input=_SCRIPTS[shell], text=True, check=True)


def test_bash_completes() -> None:
    """The script asks `runnerd`, and offers what that says."""
    script = f"""
runnerd() {{ [ "$1 $2" = "complete --" ] && shift 2 && echo "demo-a" && echo "words:$*"; }}
compopt() {{ :; }}
{_SCRIPTS["bash"]}
COMP_LINE="runnerd show de" COMP_POINT=15
_runnerd
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "demo-a\nwords:show de\n"
