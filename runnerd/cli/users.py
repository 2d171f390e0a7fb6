"""`runnerd user`: who has keys, and what they may."""

from __future__ import annotations

import argparse
import sys
from typing import Any
from urllib.parse import quote

from runnerd.cli.client import Client
from runnerd.cli.tables import moment, print_fields, print_json, print_table
from runnerd.errors import ClientError

_NONE = "none"


def add(options: argparse.Namespace) -> int:
    """Add a user; its key goes to standard output, alone, and what it may do beside it."""
    document = {"name": options.name, **_may(options)}
    if options.label:
        document["label"] = options.label
    made = Client(options.host).json("POST", "/runnerd/users", document)
    if options.json:
        print_json({name: made[name] for name in ("id", "name", "key")})
        return 0
    print(
        f"{made['name']} may {_allowed(made)}; the key, which is not shown again:", file=sys.stderr
    )
    print(made["key"])
    return 0


def list_all(options: argparse.Namespace) -> int:
    """List the users."""
    users = Client(options.host).json("GET", "/runnerd/users")
    if options.json:
        print_json(users)
        return 0
    rows = [
        (
            user["name"],
            _allowed(user),
            ", ".join(user["models"]) or "all",
            _limits(user) or "none",
            len(user["keys"]),
            _state(user),
        )
        for user in users
    ]
    print_table(("USER", "MAY", "MODELS", "LIMITS", "KEYS", "STATE"), rows)
    return 0


def show(options: argparse.Namespace) -> int:
    """Print everything about a user."""
    user = Client(options.host).json("GET", user_path(options.name))
    _print(user, as_json=options.json)
    return 0


def edit(options: argparse.Namespace) -> int:
    """Change a user."""
    changes = _may(options)
    if options.new_name is not None:
        changes["name"] = options.new_name
    if options.disable or options.enable:
        changes["disabled"] = options.disable
    user = Client(options.host).json("POST", user_path(options.name), changes)
    _print(user, as_json=options.json)
    return 0


def rm(options: argparse.Namespace) -> int:
    """Remove a user."""
    gone = Client(options.host).json("DELETE", user_path(options.name))
    if options.json:
        print_json(gone)
    else:
        print(f"removed {gone['name']} and all its keys")
    return 0


def user_path(name: str) -> str:
    """The path of a user."""
    if not name.strip():
        raise ClientError("the name is empty; `runnerd user list` lists the users")
    return f"/runnerd/users/{quote(name, safe='')}"


def _may(options: argparse.Namespace) -> dict[str, Any]:
    """What the options say of a user."""
    said: dict[str, Any] = {}
    if options.may is not None:
        said["may"] = [] if options.may.strip().lower() == _NONE else options.may.split(",")
    if options.models is not None:
        patterns = [part for text in options.models for part in text.split(",") if part.strip()]
        if not patterns:
            raise ClientError("--models names no models; write '*' for all of them")
        said["models"] = [] if "*" in patterns else patterns
    if options.limit:
        said["limits"] = dict(_limit(part) for text in options.limit for part in text.split(","))
    if options.expires is not None:
        said["expires"] = options.expires
    return said


def _limit(text: str) -> tuple[str, int | None]:
    name, equals, value = text.partition("=")
    name = name.strip().replace("-", "_")
    if equals and value.strip().lower() == _NONE:
        return name, None
    try:
        return name, int(value)
    except ValueError:
        raise ClientError(
            f"{text!r} is no limit; write one such as requests_per_minute=60"
        ) from None


def _print(user: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(user)
        return
    about = {
        "name": user["name"],
        "id": user["id"],
        "may": _allowed(user),
        "models": ", ".join(user["models"]) or "all",
        "limits": _limits(user) or "none",
        "state": _state(user),
        "expires": moment(user["expires"]) or "never",
        "created": moment(user["created"]),
    }
    for key in user["keys"]:
        about[f"key {key['id']}"] = described_key(key)
    print_fields(about)


def described_key(key: dict[str, Any]) -> str:
    """A key in a few words."""
    label = f"{key['label']}, " if key["label"] else ""
    ends = f", expires {moment(key['expires'])}" if key["expires"] else ""
    lapsed = "" if key["active"] else ", does not count"
    return f"{label}made {moment(key['created'])}{ends}{lapsed}"


def _allowed(user: dict[str, Any]) -> str:
    return ", ".join(user["may"]) or "nothing"


def _limits(user: dict[str, Any]) -> str:
    said = {name: value for name, value in user["limits"].items() if value not in (None, "")}
    if not said.get("priority"):
        said.pop("priority", None)
    return ", ".join(f"{name}={value}" for name, value in said.items())


def _state(user: dict[str, Any]) -> str:
    if user["disabled"]:
        return "disabled"
    return "active" if user["active"] else "expired"
