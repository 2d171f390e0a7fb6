"""`runnerd requests`: what was asked last, and what was answered, where that is kept."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from typing import Any
from urllib.parse import quote

from runnerd.cli.client import Client
from runnerd.cli.tables import print_json, print_table


def requests(options: argparse.Namespace) -> int:
    """List the newest requests; say how their content is kept where it is not."""
    query = f"?model={quote(options.model, safe='')}" if options.model else ""
    found = Client(options.host).json("GET", f"/engines/requests{query}")
    if options.json:
        print_json(found)
        return 0
    if any("records" in entry for entry in found):
        for group in found:
            for record in group["records"]:
                _print_content(record)
        return 0
    rows = [_row(record) for record in found]
    print_table(("TIME", "STATUS", "OPERATION", "TOKENS IN", "OUT", "SECONDS", "ERROR"), rows)
    print(
        "what was asked and answered is not kept; capture_requests = true"
        " (RUNNERD_CAPTURE_REQUESTS=1) keeps it",
        file=sys.stderr,
    )
    return 0


def _row(record: dict[str, Any]) -> tuple[object, ...]:
    began = datetime.fromtimestamp(record["timestamp"]).strftime("%H:%M:%S")
    seconds = record["duration_seconds"]
    return (
        began,
        record["status_code"] or "",
        record["operation"],
        "" if record["prompt_tokens"] is None else record["prompt_tokens"],
        "" if record["completion_tokens"] is None else record["completion_tokens"],
        "" if seconds is None else f"{seconds:.2f}",
        record["error"] or "",
    )


def _print_content(record: dict[str, Any]) -> None:
    print(f"{record['timestamp']} {record['status_code']} {record['url']}")
    print(f"  > {record['request']}")
    print(f"  < {record.get('response') or record.get('error') or ''}")
