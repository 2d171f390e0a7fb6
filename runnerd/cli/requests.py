"""`runnerd requests`: what was asked last, what runs now, and ending it."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from typing import Any
from urllib.parse import quote

from runnerd.cli.client import Client
from runnerd.cli.tables import familiar, print_json, print_table, printable
from runnerd.errors import ClientError

_HEAD = ("TIME", "STATUS", "MODEL", "OPERATION", "TOKENS IN", "OUT", "SECONDS", "ERROR")
_RUNNING = ("ID", "STATE", "MODEL", "USER", "OPERATION", "SECONDS", "FIRST BYTE", "ORIGIN")


def requests(options: argparse.Namespace) -> int:
    """List the newest requests, or those that run; or end some of these."""
    client = Client(options.host)
    if options.cancel:
        return _cancel(client, options)
    if options.running:
        return _running(client, options)
    return _ended(client, options)


def _ended(client: Client, options: argparse.Namespace) -> int:
    """What was asked last; say how its content is kept where it is not."""
    query = f"?model={quote(options.model, safe='')}" if options.model else ""
    found = client.json("GET", f"/engines/requests{query}")
    if options.json:
        print_json(found)
        return 0
    if any("records" in entry for entry in found):
        for group in found:
            for record in group["records"]:
                _print_content(record)
        return 0
    names = _names(client) if found else {}
    rows = [_row(record, names) for record in found]
    print_table(_HEAD, rows, spare=("TOKENS IN", "OUT", "TIME", "OPERATION"))
    if "superuser" in client.json("GET", "/runnerd/me")["may"]:  # who can have it otherwise
        print(
            "requests and their responses are not kept; capture_requests = true"
            " (RUNNERD_CAPTURE_REQUESTS=1) keeps it",
            file=sys.stderr,
        )
    return 0


def _running(client: Client, options: argparse.Namespace) -> int:
    found = client.json("GET", "/runnerd/requests")
    if options.model:
        model = client.json("GET", f"/models/{quote(options.model)}")["id"]
        found = [each for each in found if each["model_id"] == model]
    if options.json:
        print_json(found)
        return 0
    rows = [running_row(each) for each in found]
    print_table(_RUNNING, rows, spare=("ORIGIN", "FIRST BYTE", "OPERATION"))
    return 0


def running_row(request: dict[str, Any]) -> tuple[object, ...]:
    """A request that runs or waits as a line of the table."""
    first = request["first_byte_seconds"]
    return (
        request["id"],
        request["state"],
        familiar(request["model"]),
        request["user"],
        request["operation"],
        f"{request['seconds']:.1f}",
        "" if first is None else f"{first:.2f}",
        request["origin"] or "",
    )


def _cancel(client: Client, options: argparse.Namespace) -> int:
    """End the requests with these ids."""
    if options.model:
        raise ClientError("--cancel takes ids of requests (`runnerd requests --running`), no model")
    ended = []
    for id in options.cancel:
        ended += client.json("DELETE", f"/runnerd/requests/{quote(id, safe='')}")
    if options.json:
        print_json(ended)
        return 0
    for each in ended:
        print(f"ended {each['id']} of {each['user']} for {familiar(each['model'])}")
    return 0


def _names(client: Client) -> dict[str, str]:
    """How people call the models that are here, by id."""
    models = client.json("GET", "/models")
    return {each["id"]: familiar(each["tags"][0]) for each in models if each.get("tags")}


def _row(record: dict[str, Any], names: dict[str, str]) -> tuple[object, ...]:
    began = datetime.fromtimestamp(record["timestamp"]).strftime("%H:%M:%S")
    seconds = record["duration_seconds"]
    return (
        began,
        record["status_code"] or "",
        names.get(record["model"], record["model"].removeprefix("sha256:")[:12]),
        record["operation"],
        "" if record["prompt_tokens"] is None else record["prompt_tokens"],
        "" if record["completion_tokens"] is None else record["completion_tokens"],
        "" if seconds is None else f"{seconds:.2f}",
        record["error"] or "",
    )


def _print_content(record: dict[str, Any]) -> None:
    print(f"{record['timestamp']} {record['status_code']} {record['url']}")
    print(f"  > {printable(record['request'])}")
    print(f"  < {printable(record.get('response') or record.get('error') or '')}")
