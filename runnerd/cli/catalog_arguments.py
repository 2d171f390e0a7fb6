"""What can be typed after `runnerd catalog`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Lazily = Callable[[str, str], Callable[[argparse.Namespace], int]]

_NAME = "a model, or the id or UUID of an entry"


def add_catalog_commands(commands: Any, lazily: Lazily) -> None:
    """Add these commands to the parser's others."""

    def command(commands: Any, name: str, help: str, function: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help)
        # Suppressed, so that `catalog --json list` is heeded, too.
        made.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print JSON"
        )
        made.set_defaults(run=lazily("catalog", function))
        return made

    catalog = command(
        commands, "catalog", "what Pantry's registry says of models, here and elsewhere", "list_all"
    )
    group = catalog.add_subparsers(title="commands", metavar="COMMAND")
    command(group, "list", "models that are here and those listed (default)", "list_all")
    command(group, "show", "an entry, and its link", "show").add_argument("name", help=_NAME)
    add = command(group, "add", "list the entries of an index file, or one entry", "add")
    add.add_argument("file", help="JSON; - for standard input")
    edit = command(group, "edit", "change an entry; what is not said stays", "edit")
    edit.add_argument("name", help=_NAME)
    edit.add_argument(
        "fields",
        nargs="+",
        metavar="FIELD=VALUE",
        help="such as license=MIT or 'capabilities={\"general\": 4}'; VALUE is JSON or text",
    )
    pull = command(group, "pull", "pull what an entry names, which it then has", "pull")
    pull.add_argument("name", help="the id of an entry")
    remove = command(group, "rm", "take an entry out, or forget what was said of a model", "remove")
    remove.add_argument("name", help=_NAME)
