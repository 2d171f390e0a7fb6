"""What is typed becomes a function of a module, and its options: one line for every command."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runnerd.cli.account_arguments import add_account_commands
from runnerd.cli.approval_arguments import add_approval_commands
from runnerd.cli.catalog_arguments import add_catalog_commands
from runnerd.cli.job_arguments import add_job_commands
from runnerd.cli.login_arguments import add_login_commands
from runnerd.cli.model_arguments import add_model_commands
from runnerd.cli.seeing_arguments import add_seeing_commands
from runnerd.cli.session_arguments import add_session_commands

COVERS = (
    "runnerd.cli.account_arguments",
    "runnerd.cli.approval_arguments",
    "runnerd.cli.catalog_arguments",
    "runnerd.cli.job_arguments",
    "runnerd.cli.login_arguments",
    "runnerd.cli.model_arguments",
    "runnerd.cli.seeing_arguments",
    "runnerd.cli.session_arguments",
)

Lazily = Callable[[str, str], Callable[[argparse.Namespace], int]]
Add = Callable[[Any, Lazily], None]


@dataclass(frozen=True)
class _Function:
    """Stands for a function of a module."""

    module: str
    name: str

    def __call__(self, options: argparse.Namespace) -> int:
        return 0


def _model_commands(commands: Any, lazily: Lazily) -> None:
    """The commands on models, of which each names a module, and its function by its own name."""

    def add(name: str, help: str, module: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = commands.add_parser(name, help=help)
        made.set_defaults(run=lazily(module, name))
        return made

    add_model_commands(add)


def parsed(add: Add, line: str) -> dict[str, Any]:
    """The options of a line, with the function that it runs."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    add(parser.add_subparsers(), lambda module, function: _Function(module, function))
    return vars(parser.parse_args(line.split()))


@pytest.mark.parametrize(
    ("add", "line", "run", "options"),
    [
        (
            add_account_commands,
            "user add ann --limit a=1 --limit b=2",
            ("users", "add"),
            {"name": "ann", "limit": ["a=1", "b=2"], "may": None, "models": None},
        ),
        (
            add_account_commands,
            "user edit ann --name eve --disable",
            ("users", "edit"),
            {"name": "ann", "new_name": "eve", "disable": True, "enable": False},
        ),
        (add_account_commands, "user list", ("users", "list_all"), {"json": False}),
        (add_account_commands, "user show ann --json", ("users", "show"), {"json": True}),
        (add_account_commands, "user rm ann", ("users", "rm"), {"name": "ann"}),
        (
            add_account_commands,
            "key add ann --expires 30d",
            ("keys", "add"),
            {"user": "ann", "expires": "30d"},
        ),
        (add_account_commands, "key list", ("keys", "list_all"), {"user": None}),
        (add_account_commands, "key rm k1", ("keys", "rm"), {"id": "k1"}),
        (add_account_commands, "key rotate k1", ("keys", "rotate"), {"id": "k1"}),
        (add_account_commands, "whoami", ("accounts", "whoami"), {}),
        (
            add_account_commands,
            "usage --by day --days 7",
            ("accounts", "usage"),
            {"by": "day", "days": 7},
        ),
        (
            add_account_commands,
            "audit -n 5 --who ann",
            ("accounts", "audit"),
            {"limit": 5, "who": "ann"},
        ),
        (
            add_account_commands,
            "backup b --force",
            ("backups", "backup"),
            {"file": Path("b"), "force": True},
        ),
        (add_account_commands, "restore b", ("backups", "restore"), {"file": Path("b")}),
        (add_account_commands, "logins", ("logins", "list_all"), {}),
        (
            add_approval_commands,
            "approvals",
            ("approvals", "list_all"),
            {"state": None, "user": None},
        ),
        (
            add_approval_commands,
            "approvals --json list --state pending",
            ("approvals", "list_all"),
            {"state": "pending", "json": True},
        ),
        (add_approval_commands, "approvals show 7", ("approvals", "show"), {"id": "7"}),
        (add_approval_commands, "approve 7 --no-wait", ("approvals", "approve"), {"no_wait": True}),
        (
            add_approval_commands,
            "approvals reject 7 --reason no",
            ("approvals", "reject"),
            {"reason": "no"},
        ),
        (add_approval_commands, "approvals withdraw 7", ("approvals", "withdraw"), {"id": "7"}),
        (
            add_approval_commands,
            "approvals request download m --tag n",
            ("approvals", "request"),
            {"kind": "download", "what": "m", "tag": "n"},
        ),
        (add_catalog_commands, "catalog", ("catalog", "list_all"), {}),
        (
            add_catalog_commands,
            "catalog edit m a=1 b=2",
            ("catalog", "edit"),
            {"name": "m", "fields": ["a=1", "b=2"]},
        ),
        (add_catalog_commands, "catalog add -", ("catalog", "add"), {"file": "-"}),
        (add_catalog_commands, "catalog rm m", ("catalog", "remove"), {"name": "m"}),
        (
            add_job_commands,
            "jobs --json list --state failed",
            ("jobs", "list_all"),
            {"state": "failed", "json": True},
        ),
        (add_job_commands, "jobs cancel a b", ("jobs", "cancel"), {"id": ["a", "b"]}),
        (
            add_job_commands,
            "submit m a b --expires-in 2h --priority 3",
            ("jobs", "submit"),
            {"model": "m", "prompt": ["a", "b"], "expires_in": 7200.0, "priority": 3},
        ),
        (
            add_job_commands,
            "batch f.jsonl -o out",
            ("batch", "batch"),
            {"file": Path("f.jsonl"), "output": Path("out")},
        ),
        (
            add_login_commands,
            "login -u ann --password-stdin",
            ("logins", "login"),
            {"registry": "docker.io", "username": "ann", "password_stdin": True},
        ),
        (add_login_commands, "logout hf.co", ("logins", "logout"), {"registry": "hf.co"}),
        (
            _model_commands,
            "import a b --from ollama --list",
            ("imports", "import"),
            {"path": ["a", "b"], "source": "ollama", "list": True},
        ),
        (
            _model_commands,
            "create m -q q4_K_M",
            ("making", "create"),
            {"file": "Modelfile", "quantize": "q4_K_M"},
        ),
        (
            _model_commands,
            "pull m n --no-draft",
            ("pull", "pull"),
            {"model": ["m", "n"], "no_draft": True},
        ),
        (
            _model_commands,
            "export m -o -",
            ("exporting", "export"),
            {"output": "-", "format": "docker"},
        ),
        (
            _model_commands,
            "rerank m q a b --top 1",
            ("vectors", "rerank"),
            {"query": "q", "document": ["a", "b"], "top": 1},
        ),
        (_model_commands, "rm m --force", ("models", "rm"), {"model": ["m"], "force": True}),
        (
            add_seeing_commands,
            "requests --cancel a b",
            ("requests", "requests"),
            {"cancel": ["a", "b"], "model": None},
        ),
        (add_seeing_commands, "logs m -n 20 -f", ("logs", "logs"), {"lines": 20, "follow": True}),
        (
            add_seeing_commands,
            "fit m --context 4096",
            ("fit", "fit"),
            {"context": 4096, "mode": None},
        ),
        (
            add_seeing_commands,
            "bench m",
            ("bench", "bench"),
            {"concurrency": "1,2,4,8", "tokens": 64},
        ),
        (
            add_session_commands,
            "session prompt s hello --model m",
            ("sessions", "prompt"),
            {"session": "s", "prompt": "hello", "model": "m"},
        ),
        (add_session_commands, "session rm s t", ("sessions", "remove"), {"session": ["s", "t"]}),
    ],
)
def test_lines(add: Add, line: str, run: tuple[str, str], options: dict[str, Any]) -> None:
    """What is not said has its default."""
    found = parsed(add, line)
    assert found.pop("run") == _Function(*run)
    assert found | options == found


@pytest.mark.parametrize(
    ("add", "line"),
    [
        (add_account_commands, "user edit ann --enable --disable"),
        (add_account_commands, "usage --by hour"),
        (add_job_commands, "submit m --expires-in soon"),
        (add_job_commands, "jobs list --state lost"),
        (add_seeing_commands, "logs -n -1"),
        (add_seeing_commands, "fit m --context 99999999999"),
        (_model_commands, "push m --format zip"),
    ],
)
def test_lines_that_mean_nothing(add: Add, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Contradictions, and values that there are not, are refused before anything is asked."""
    with pytest.raises((argparse.ArgumentError, SystemExit)):
        parsed(add, line)
