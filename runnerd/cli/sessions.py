"""`runnerd session`: conversations that stay."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from runnerd import sse
from runnerd.cli.all_known import check_all_known
from runnerd.cli.client import Client, DaemonError
from runnerd.cli.tables import familiar, moment, print_fields, print_json, print_table
from runnerd.errors import ClientError, RunnerdError, SessionNotFound
from runnerd.units import binary_size

PATH = "/runnerd/sessions"
_SHORT = 8  # letters of an id


def list_all(options: argparse.Namespace) -> int:
    """List sessions, the one that was used last first."""
    found = Client(options.host).json("GET", f"{PATH}?limit=1000")
    if options.json:
        print_json(found)
        return 0
    rows = [
        (
            each["id"][:_SHORT],
            each["name"] or "",
            each.get("user", ""),
            familiar(each["model"]),
            each["turns"],
            moment(each["last_used"]),
            moment(each["expires"]),
            "; ".join(each["warnings"]),
        )
        for each in found
    ]
    print_table(("ID", "NAME", "USER", "MODEL", "TURNS", "LAST USED", "EXPIRES", ""), rows)
    return 0


def show(options: argparse.Namespace) -> int:
    """Print a session and what was said in it."""
    client = Client(options.host)
    session = client.json("GET", path_of(client, options.session))
    if options.json:
        print_json(session)
        return 0
    about = {name: session.get(name) for name in ("id", "name", "user", "model", "kind", "system")}
    about["model"] = familiar(session["model"])
    print_fields(
        about
        | {
            name.replace("_", " "): moment(session.get(name))
            for name in ("created", "last_used", "expires")
        }
    )
    _warn(session)
    for turn in session["history"]:
        print(f"\n>>> {turn['prompt']}")
        for each in turn["attachments"]:
            print(f"({each['type']}, {binary_size(each['bytes'])})")
        print(turn["response"])
        if turn["state"] != "complete":
            print(f"({turn['state']})")
    return 0


def prompt(options: argparse.Namespace) -> int:
    """Say something in a session."""
    text = sys.stdin.read() if options.prompt is None else options.prompt
    if not text.strip():
        raise ClientError("there is nothing to say: give a prompt or pipe one in")
    client = Client(options.host)
    path = _begun(client, options.session, options.model)
    ended: dict[str, Any] = {}
    for kind, told in events(client, path, {"prompt": text}):
        if kind == "end":
            ended = told
        elif not options.json:
            print(told["text"], end="", flush=True)
    if options.json:
        print_json(ended)
    else:
        print()
    return 0


def interrupt(options: argparse.Namespace) -> int:
    """End what is being answered in a session."""
    client = Client(options.host)
    told = client.json("POST", f"{path_of(client, options.session)}/interrupt")
    if options.json:
        print_json(told)
    else:
        print(f"interrupted {told['interrupted']} prompts")
    return 0


def remove(options: argparse.Namespace) -> int:
    """Remove sessions."""
    client = Client(options.host)
    paths = [path_of(client, name) for name in options.session]
    if len(paths) > 1:
        check_all_known(client, paths, "removed")
    gone = [client.json("DELETE", path) for path in paths]
    if options.json:
        print_json(gone)
    else:
        print("\n".join(f"removed {name}" for name in options.session))
    return 0


def events(client: Client, path: str, said: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """Say something in the session at `path`; yields `delta`s and the `end` as they come.

    Raises RunnerdError where it fails.
    """
    splitter = sse.EventSplitter()
    kind = ""
    with client.open("POST", f"{path}/prompt", said) as response:
        while data := response.read1():
            for event in map(sse.parse, splitter.feed(data)):
                if not event.data:
                    continue
                kind, told = event.type, json.loads(event.data)
                if kind == "error":
                    raise RunnerdError(str(told["error"]["message"]))
                yield kind, told
    if kind != "end":
        raise RunnerdError("the response broke off; nothing of it was kept")


def begin(client: Client, name: str, model: str, **more: Any) -> dict[str, Any]:
    """The session of one's own with this name, made where there is none."""
    try:
        found: dict[str, Any] = client.json("GET", f"{PATH}/{quote(name, safe='')}")
    except DaemonError as error:
        if error.answer_status != SessionNotFound.status:
            raise
        found = client.json("POST", PATH, {"name": name, "model": model, **more})
    _warn(found)
    return found


def _begun(client: Client, name: str, model: str | None) -> str:
    """The path of a session, which is made where a model is named and there is none."""
    if model is None:
        return path_of(client, name)
    return f"{PATH}/{begin(client, name, model)['id']}"


def path_of(client: Client, name: str) -> str:
    """The path of a session, of whose id the beginning is enough."""
    if not name.strip():
        raise ClientError("the name is empty; `runnerd session list` lists the sessions")
    every = client.json("GET", f"{PATH}?limit=1000")
    found = [each["id"] for each in every if each["name"] == name]
    found = found or [each["id"] for each in every if each["id"].startswith(name.lower())]
    if len(found) > 1:
        raise ClientError(f"{name!r} could be any of {', '.join(found[:5])}; say which")
    return f"{PATH}/{quote(found[0] if found else name, safe='')}"


def _warn(session: dict[str, Any]) -> None:
    for warning in session["warnings"]:
        print(f"runnerd: {warning}", file=sys.stderr)
