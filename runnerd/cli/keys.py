"""`runnerd key`: the keys of users.  A key is printed once, when it is made."""

from __future__ import annotations

import argparse
import sys
from typing import Any
from urllib.parse import quote

from runnerd.cli.client import Client
from runnerd.cli.tables import moment, print_json, print_table
from runnerd.cli.users import user_path
from runnerd.errors import ClientError


def add(options: argparse.Namespace) -> int:
    """Give a user one more key."""
    said = {"label": options.label, "expires": options.expires}
    document = {name: value for name, value in said.items() if value is not None}
    made = Client(options.host).json("POST", f"{user_path(options.user)}/keys", document)
    _print_made(made, as_json=options.json)
    return 0


def list_all(options: argparse.Namespace) -> int:
    """List the keys."""
    query = "" if options.user is None else f"?user={quote(options.user, safe='')}"
    keys = Client(options.host).json("GET", f"/runnerd/keys{query}")
    if options.json:
        print_json(keys)
        return 0
    rows = [
        (
            key["id"],
            key["user"],
            key["label"],
            moment(key["created"]),
            moment(key["expires"]) or "never",
            "active" if key["active"] else "does not count",
        )
        for key in keys
    ]
    print_table(("ID", "USER", "LABEL", "CREATED", "EXPIRES", "STATE"), rows)
    return 0


def rm(options: argparse.Namespace) -> int:
    """Revoke a key."""
    gone = Client(options.host).json("DELETE", _path(options.id))
    if options.json:
        print_json(gone)
    else:
        print(f"revoked {gone['id']}")
    return 0


def rotate(options: argparse.Namespace) -> int:
    """Replace a key by a new one."""
    made = Client(options.host).json("POST", f"{_path(options.id)}/rotate")
    _print_made(made, as_json=options.json)
    return 0


def _path(id: str) -> str:
    if not id.strip():
        raise ClientError("the id is empty; `runnerd key list` lists the keys")
    return f"/runnerd/keys/{quote(id, safe='')}"


def _print_made(made: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    print(f"key {made['id']} of {made['user']}, which is not shown again:", file=sys.stderr)
    print(made["key"])
