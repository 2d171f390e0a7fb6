"""`runnerd search`: models on the Hugging Face hub."""

from __future__ import annotations

import argparse
from urllib.parse import urlencode

from runnerd.cli.client import Client, DaemonError
from runnerd.cli.tables import print_json, print_table
from runnerd.units import scaled_count

_UNREACHED = frozenset({502, 504})


def search(options: argparse.Namespace) -> int:
    """Print what the hub has, most downloads first; say plainly when it cannot be reached."""
    query = urlencode({"q": " ".join(options.words), "limit": options.limit})
    try:
        found = Client(options.host).json("GET", f"/runnerd/search?{query}")
    except DaemonError as error:
        if error.answer_status in _UNREACHED:
            raise DaemonError(
                f"the hub cannot be searched from the daemon's host: {error.message}"
                " (`hub_endpoint` names a mirror, `outbound_proxy` a proxy)",
                error.answer_status,
            ) from error
        raise
    if options.json:
        print_json(found)
        return 0
    rows = [
        (
            each["model"],
            scaled_count(each["downloads"]),
            each["likes"],
            "takes an account" if each["gated"] else "",
            (each["modified"] or "")[:10],
        )
        for each in found
    ]
    print_table(
        ("MODEL", "DOWNLOADS", "LIKES", "GATED", "CHANGED"), rows, spare=("CHANGED", "LIKES")
    )
    if not found:
        print("nothing on the hub has these words in its name")
    return 0
