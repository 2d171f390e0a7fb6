"""A name that another model has is not taken from it unasked."""

from __future__ import annotations

import argparse
import sys
from http.client import NOT_FOUND

from runnerd.cli.client import Client, DaemonError
from runnerd.cli.model_paths import model_path
from runnerd.cli.tables import familiar
from runnerd.errors import Conflict
from runnerd.models.reference import parse_tag


def check_free(
    client: Client, name: str | None, options: argparse.Namespace, *, unless: str = ""
) -> None:
    """See that a name may be given away: it is free, `--force` says so, or somebody answers so.

    `unless` is the id of the model that may have it already.

    Raises errors.Conflict, InvalidReference.
    """
    if name is None or options.force or (owner := _owner(client, name)) in (None, unless):
        return
    name, owner = familiar(name), str(owner)[:19]
    if sys.stdin.isatty() and sys.stderr.isatty():
        print(f"{name} is a name of {owner} already. ", end="", file=sys.stderr)
        print("Take it from there? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return
        raise SystemExit(1)
    raise Conflict(f"{name} is a name of {owner} already; --force takes it from there")


def is_taken(client: Client, name: str) -> bool:
    """Whether a model has exactly this name."""
    return _owner(client, name) is not None


def _owner(client: Client, name: str) -> str | None:
    """The id of the model that has exactly this name, None where there is none."""
    wanted = str(parse_tag(name))
    try:
        model = client.json("GET", model_path(wanted))
    except DaemonError as error:
        if error.answer_status == NOT_FOUND:
            return None
        raise
    return str(model["id"]) if wanted in model.get("tags", []) else None
