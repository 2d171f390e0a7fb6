"""`runnerd approvals`, `approve` and `reject`: what users ask the owner for."""

from __future__ import annotations

import argparse
import time
from typing import Any
from urllib.parse import quote, urlencode

from runnerd.cli.client import Client
from runnerd.cli.tables import familiar, moment, print_fields, print_json, print_table
from runnerd.errors import ApprovalNotFound, ClientError

_PATH = "/runnerd/approvals"
_SHORT = 8  # letters of an id
_POLL = 0.3  # seconds between looks whether it is done


def list_all(options: argparse.Namespace) -> int:
    """List requests: pending ones first."""
    asked = {"state": options.state, "user": options.user}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    found = Client(options.host).json("GET", f"{_PATH}?{query}")
    if options.json:
        print_json(found)
        return 0
    rows = [
        (
            each["id"][:_SHORT],
            each["user"],
            each["type"],
            _what(each),
            _state(each),
            moment(each["created"]),
            each["decision_reason"] or each["failure"] or each["reason"],
        )
        for each in found
    ]
    print_table(("ID", "USER", "TYPE", "WHAT", "STATE", "ASKED", "REASON"), rows)
    return 0


def show(options: argparse.Namespace) -> int:
    """Print everything about a request."""
    client = Client(options.host)
    _print(client.json("GET", _path(client, options.id)), as_json=options.json)
    return 0


def approve(options: argparse.Namespace) -> int:
    """Accept a request, and wait until it is done."""
    client = Client(options.host)
    path = _path(client, options.id)
    approval = client.json("POST", f"{path}/accept")
    while approval["working"] and not options.no_wait:
        time.sleep(_POLL)
        approval = client.json("GET", path)
    _print(approval, as_json=options.json)
    return 0 if approval["accepted"] or approval["working"] else 1


def reject(options: argparse.Namespace) -> int:
    """Reject a request."""
    client = Client(options.host)
    document = None if options.reason is None else {"reason": options.reason}
    path = _path(client, options.id)
    _print(client.json("POST", f"{path}/reject", document), as_json=options.json)
    return 0


def withdraw(options: argparse.Namespace) -> int:
    """End a request of one's own."""
    client = Client(options.host)
    _print(client.json("DELETE", _path(client, options.id)), as_json=options.json)
    return 0


def request(options: argparse.Namespace) -> int:
    """Ask the owner for something."""
    document: dict[str, Any] = {"type": options.kind}
    if options.kind == "permissions":
        may = options.what.strip().lower()
        document["may"] = [] if may == "none" else options.what.split(",")
    else:
        document["model"] = options.what
    for name in ("reason", "tag", "revision", "sha256"):
        if (value := getattr(options, name)) is not None:
            document[name] = value
    _print(Client(options.host).json("POST", _PATH, document), as_json=options.json)
    return 0


def _path(client: Client, id: str) -> str:
    """The path of a request, of whose id the beginning is enough."""
    if not id.strip():
        raise ClientError("the id is empty; `runnerd approvals` lists the requests")
    if len(id) < _LENGTH:
        every = client.json("GET", f"{_PATH}?limit=1000")
        found = [each["id"] for each in every if each["id"].startswith(id.lower())]
        if len(found) > 1:
            raise ClientError(f"{id!r} could be any of {', '.join(found[:5])}; say which")
        if not found:
            raise ApprovalNotFound(f"there is no request {id!r}; `runnerd approvals` shows all")
        id = found[0]
    return f"{_PATH}/{quote(id, safe='')}"


_LENGTH = 36


def _what(approval: dict[str, Any]) -> str:
    asked = approval["request"]
    if approval["type"] == "permissions":
        return ",".join(asked["may"]) or "none"
    model = familiar(asked["model"])
    return f"{model} as {familiar(asked['tag'])}" if asked.get("tag") else model


def _state(approval: dict[str, Any]) -> str:
    if approval["working"]:
        return "being done"
    if approval["failure"]:
        return "failed, pending"
    return str(approval["state"])


def _print(approval: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(approval)
        return
    about = {
        "id": approval["id"],
        "user": approval["user"],
        approval["type"]: _what(approval),
        **{name: value for name, value in approval["request"].items() if name not in _SHOWN},
        "loses": ", ".join(approval["loses"]),
        "state": _state(approval),
        "failure": approval["failure"],
        "reason": approval["reason"],
        "asked": moment(approval["created"]),
        "decided": moment(approval["decided"]),
        "by": approval["decided_by"],
        "because": approval["decision_reason"],
    }
    print_fields(about)


_SHOWN = ("may", "model", "tag", "entry", "llm_id")
