"""What can be typed after `runnerd approvals`, `approve` and `reject`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Lazily = Callable[[str, str], Callable[[argparse.Namespace], int]]

_ID = "its id, or the beginning of one"


def add_approval_commands(commands: Any, lazily: Lazily) -> None:
    """Add these commands to the parser's others."""

    def command(commands: Any, name: str, help: str, function: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help)
        # Suppressed, so that `approvals --json list` is heeded, too.
        made.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print JSON"
        )
        made.set_defaults(run=lazily("approvals", function))
        return made

    help = "what users ask the owner for: permissions, downloads, loads and unloads"
    approvals = command(commands, "approvals", help, "list_all")
    approvals.set_defaults(state=None, user=None)
    group = approvals.add_subparsers(title="commands", metavar="COMMAND")
    every = command(group, "list", "one's own requests, and for owners all (default)", "list_all")
    every.add_argument("--state", choices=("pending", "accepted", "rejected", "withdrawn"))
    every.add_argument("--user", metavar="NAME", help="of one user only, for owners")
    _decided(command, group, "show", "everything about a request")
    for parent in (group, commands):  # the latter for short
        approve = _decided(command, parent, "approve", "accept a request, and do what it asks for")
        approve.add_argument(
            "--no-wait", action="store_true", help="do not wait until it is done, or has failed"
        )
        reject = _decided(command, parent, "reject", "reject a request")
        reject.add_argument("--reason", metavar="TEXT", help="why, for the user to read")
    _decided(command, group, "withdraw", "end a request of one's own; takes a key in RUNNERD_KEY")
    ask = command(group, "request", "ask the owner; takes a key in RUNNERD_KEY", "request")
    ask.add_argument("kind", choices=("permissions", "download", "load", "unload"))
    ask.add_argument("what", help="permissions with commas, or a model")
    ask.add_argument("--reason", metavar="TEXT", help="why, for the owner to read")
    ask.add_argument("--tag", metavar="NAME", help="of a download: what to call it")
    ask.add_argument("--revision", metavar="REV", help="of a Hugging Face repository")
    ask.add_argument("--sha256", metavar="HEX", help="of the file behind a URL")


def _decided(
    command: Callable[..., argparse.ArgumentParser], commands: Any, name: str, help: str
) -> argparse.ArgumentParser:
    made = command(commands, name, help, name)
    made.add_argument("id", help=_ID)
    return made
