"""What can be typed after `runnerd user`, `key`, `approvals`, `usage`, `audit` and the like."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runnerd.cli.approval_arguments import add_approval_commands
from runnerd.cli.login_arguments import add_login_commands

Lazily = Callable[[str, str], Callable[[argparse.Namespace], int]]
"""The function that is called so in a module of this folder, imported when it is called."""

_MAY = (
    "permissions, with commas: session, view_llms (these two are the default), load_llm,"
    " unload_llm, download_llm, request_load, request_unload, request_download, bare_model,"
    " superuser; or none"
)
_LIMIT = (
    "requests_per_minute, concurrent_requests, tokens_per_day, context or priority, with commas;"
    " =none takes one away"
)


def add_account_commands(commands: Any, lazily: Lazily) -> None:
    """Add these commands to the parser's others."""
    _add_user_commands(_group(commands, "user", "who has keys, and what they may"), lazily)
    _add_key_commands(_group(commands, "key", "the keys of users"), lazily)

    add_approval_commands(commands, lazily)
    add_login_commands(commands, lazily)

    whoami = _command(commands, "whoami", "who the daemon takes you for, and what you may")
    _run(whoami, lazily("accounts", "whoami"))
    usage = _command(commands, "usage", "requests and tokens by user, model or day")
    usage.add_argument("--by", choices=("user", "model", "day"), default="user")
    usage.add_argument("--days", type=int, metavar="N", help="the last N days; default 30")
    usage.add_argument("--user", metavar="NAME", help="of one user only")
    _run(usage, lazily("accounts", "usage"))

    audit = _command(commands, "audit", "who has changed models, users and settings")
    audit.add_argument("-n", "--limit", type=int, metavar="N", help="entries; default 100")
    audit.add_argument("--who", metavar="NAME", help="of one user only")
    _run(audit, lazily("accounts", "audit"))

    backup = _command(commands, "backup", "write users, keys, usage and audit to a file")
    backup.add_argument("file", type=Path)
    backup.add_argument("--force", action="store_true", help="overwrite a file that is there")
    _run(backup, lazily("backups", "backup"))
    restore = _command(commands, "restore", "put what `backup` wrote in the place of what is there")
    restore.add_argument("file", type=Path)
    _run(restore, lazily("backups", "restore"))


def _add_user_commands(commands: Any, lazily: Lazily) -> None:
    add = _command(commands, "add", "add a user and print a key, which is never shown again")
    add.add_argument("name")
    _what_a_user_may(add)
    add.add_argument("--label", metavar="TEXT", help="what the key is for")
    _run(add, lazily("users", "add"))
    _run(_command(commands, "list", "list the users"), lazily("users", "list_all"))
    show = _command(commands, "show", "everything about a user")
    show.add_argument("name")
    _run(show, lazily("users", "show"))
    edit = _command(commands, "edit", "change what a user may; what is not said stays")
    edit.add_argument("name")
    edit.add_argument("--name", dest="new_name", metavar="NAME", help="call it so from now on")
    _what_a_user_may(edit)
    state = edit.add_mutually_exclusive_group()
    state.add_argument("--disable", action="store_true", help="its keys do not count any more")
    state.add_argument("--enable", action="store_true", help="its keys count again")
    _run(edit, lazily("users", "edit"))
    remove = _command(commands, "rm", "remove a user and all its keys")
    remove.add_argument("name")
    _run(remove, lazily("users", "rm"))


def _what_a_user_may(command: argparse.ArgumentParser) -> None:
    command.add_argument("--may", metavar="PERMISSIONS", help=_MAY)
    command.add_argument(
        "--models",
        action="append",
        metavar="PATTERN",
        help="only models that fit, such as ai/*; may be repeated; * for all",
    )
    command.add_argument("--limit", action="append", default=[], metavar="NAME=NUMBER", help=_LIMIT)
    command.add_argument("--expires", metavar="TIME", help="30d, 12h, or never")


def _add_key_commands(commands: Any, lazily: Lazily) -> None:
    add = _command(commands, "add", "give a user one more key and print it, this one time")
    add.add_argument("user")
    add.add_argument("--label", metavar="TEXT", help="what it is for")
    add.add_argument("--expires", metavar="TIME", help="30d, 12h, or never")
    _run(add, lazily("keys", "add"))
    every = _command(commands, "list", "list the keys, without the keys themselves")
    every.add_argument("user", nargs="?")
    _run(every, lazily("keys", "list_all"))
    remove = _command(commands, "rm", "revoke a key")
    remove.add_argument("id")
    _run(remove, lazily("keys", "rm"))
    rotate = _command(commands, "rotate", "replace a key by a new one, and print that")
    rotate.add_argument("id")
    _run(rotate, lazily("keys", "rotate"))


def _group(commands: Any, name: str, help: str) -> Any:
    group = commands.add_parser(name, help=help, description=help)
    return group.add_subparsers(title="commands", required=True, metavar="COMMAND")


def _command(commands: Any, name: str, help: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help)
    command.add_argument("--json", action="store_true", help="print JSON")
    return command


def _run(command: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int]) -> None:
    command.set_defaults(run=run)
