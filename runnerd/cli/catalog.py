"""`runnerd catalog`: registry entries of models, as Pantry's programs see them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from runnerd.cli import pull as pulling
from runnerd.cli.client import Client
from runnerd.cli.tables import familiar, print_fields, print_json, print_table
from runnerd.errors import ClientError

_PATH = "/runnerd/catalog"
_FIELDS = ("familyId", "organization", "license", "url")


def list_all(options: argparse.Namespace) -> int:
    """List the entries."""
    found = Client(options.host).json("GET", _PATH)
    if options.json:
        print_json(found)
        return 0
    rows = [
        (
            each["id"],
            familiar(each["model"]) if each["model"] else "not here",
            each["entry"]["familyId"],
            _capabilities(each["entry"]),
            each["entry"]["license"],
        )
        for each in found
    ]
    print_table(("ID", "MODEL", "FAMILY", "CAPABILITIES", "LICENSE"), rows)
    return 0


def show(options: argparse.Namespace) -> int:
    """Print an entry."""
    _print(Client(options.host).json("GET", _path(options.name)), as_json=options.json)
    return 0


def add(options: argparse.Namespace) -> int:
    """List the entries of a file."""
    text = sys.stdin.buffer.read() if options.file == "-" else _read(Path(options.file))
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ClientError(f"{options.file} is no JSON: {error}") from error
    found = Client(options.host).json("POST", _PATH, document)
    if options.json:
        print_json(found)
    else:
        print("\n".join(found["listed"]))
    return 0


def edit(options: argparse.Namespace) -> int:
    """Change fields of an entry."""
    changes = {}
    for said in options.fields:
        name, equals, value = said.partition("=")
        if not equals or not name:
            raise ClientError(f"{said!r}: write FIELD=VALUE, such as license=MIT")
        changes[name] = _value(value)
    found = Client(options.host).json("POST", _path(options.name), changes)
    _print(found, as_json=options.json)
    return 0


def pull(options: argparse.Namespace) -> int:
    """Pull what an entry names."""
    link = Client(options.host).json("GET", _path(options.name))["link"]
    if link is None:
        raise ClientError(f"the entry {options.name!r} has no url to pull from")
    return pulling.pull_missing(options.host, link, as_json=options.json)


def remove(options: argparse.Namespace) -> int:
    """Take an entry out."""
    found = Client(options.host).json("DELETE", _path(options.name))
    if options.json:
        print_json(found)
    else:
        print(f"removed {found['removed']}")
    return 0


def _path(name: str) -> str:
    if not name.strip():
        raise ClientError("the name is empty; `runnerd catalog` lists the entries")
    return f"{_PATH}/{quote(name, safe='')}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ClientError(f"cannot read {path}: {error.strerror}") from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _capabilities(entry: dict[str, Any]) -> str:
    known = entry["capabilities"].items()
    return " ".join(f"{name}={value}" for name, value in known if value >= 0) or "not evaluated"


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    entry = found["entry"]
    about = {
        "id": found["id"],
        "name": entry["name"],
        "model": familiar(found["model"]) if found["model"] else "not here",
        "uuid": found["uuid"],
        "description": entry["description"],
        **{name: entry[name] for name in _FIELDS},
        "tags": ", ".join(entry["tags"]),
        "capabilities": _capabilities(entry),
        "parameters": json.dumps(entry["parameters"]),
        "may be set": ", ".join(entry["userParameters"]),
        "of sessions": json.dumps(entry["sessionParameters"]),
        "set there": ", ".join(entry["userSessionParameters"]),
        "link": found["link"],
    }
    print_fields(about)
