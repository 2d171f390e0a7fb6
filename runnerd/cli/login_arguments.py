"""What can be typed after `runnerd login`, `logout` and `logins`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Lazily = Callable[[str, str], Callable[[argparse.Namespace], int]]

_REGISTRY = "HOST[:PORT], or hf.co; by default Docker Hub"


def add_login_commands(commands: Any, lazily: Lazily) -> None:
    """Add these commands to the parser's others."""

    def command(name: str, help: str, function: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help)
        made.add_argument("--json", action="store_true", help="print JSON")
        made.set_defaults(run=lazily("logins", function))
        return made

    login = command(
        "login", "keep a user's login for its pulls; takes a key in RUNNERD_KEY", "login"
    )
    login.add_argument("registry", nargs="?", default="docker.io", help=_REGISTRY)
    login.add_argument("-u", "--username", help="none for a token")
    login.add_argument("--password-stdin", action="store_true", help="read it from standard input")
    logout = command("logout", "forget a login; takes a key in RUNNERD_KEY", "logout")
    logout.add_argument("registry", nargs="?", default="docker.io", help=_REGISTRY)
    command("logins", "where one is logged in; takes a key in RUNNERD_KEY", "list_all")
