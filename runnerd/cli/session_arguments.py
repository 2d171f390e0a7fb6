"""What can be typed after `runnerd session`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Lazily = Callable[[str, str], Callable[[argparse.Namespace], int]]

_ID = "its name or id, or the beginning of an id"


def add_session_commands(commands: Any, lazily: Lazily) -> None:
    """Add these commands to the parser's others."""

    def command(commands: Any, name: str, help: str, function: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help)
        # Suppressed, so that `session --json list` is heeded, too.
        made.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print JSON"
        )
        made.set_defaults(run=lazily("sessions", function))
        return made

    def about(name: str, help: str, function: str) -> argparse.ArgumentParser:
        made = command(group, name, help, function)
        made.add_argument("session", help=_ID)
        return made

    session = command(commands, "session", "conversations that stay", "list_all")
    group = session.add_subparsers(title="commands", metavar="COMMAND")
    command(group, "list", "one's own, and for owners all (default)", "list_all")
    about("show", "a session and what was said in it", "show")
    prompt = about("prompt", "say something, and print the response as it comes", "prompt")
    prompt.add_argument("prompt", nargs="?", help="default: standard input")
    prompt.add_argument(
        "--model", metavar="MODEL", help="begin a session of this name, if there is none"
    )
    about("interrupt", "end what is being answered; what was said is kept", "interrupt")
    remove = command(group, "rm", "remove sessions", "remove")
    remove.add_argument("session", nargs="+", help=_ID)
