"""`runnerd whoami`, `usage` and `audit`: who one is, what was used, who has changed what."""

from __future__ import annotations

import argparse
from urllib.parse import urlencode

from runnerd.cli.client import Client
from runnerd.cli.tables import moment, print_fields, print_json, print_table

_PERIODS = {"today": "today", "month": "30 days"}


def whoami(options: argparse.Namespace) -> int:
    """Print who one is to the daemon."""
    me = Client(options.host).json("GET", "/runnerd/me")
    if options.json:
        print_json(me)
        return 0
    limits = {name: value for name, value in me["limits"].items() if value}
    about = {
        me["kind"]: me["name"],
        "may": ", ".join(me["may"]) or "nothing",
        "models": ", ".join(me["models"]) or "all",
        "limits": ", ".join(f"{name}={value}" for name, value in limits.items()) or "none",
        "expires": moment(me["expires"]) or "never",
    }
    for name, used in me["usage"].items():
        if used is not None:
            tokens = used["prompt_tokens"] + used["completion_tokens"]
            about[_PERIODS[name]] = f"{used['requests']} requests, {tokens} tokens"
    print_fields(about)
    return 0


def usage(options: argparse.Namespace) -> int:
    """Print requests and tokens."""
    query = _query(by=options.by, days=options.days, user=options.user)
    lines = Client(options.host).json("GET", f"/runnerd/usage?{query}")
    if options.json:
        print_json(lines)
        return 0
    names = ("requests", "failures", "prompt_tokens", "completion_tokens")
    rows = [(line[options.by], *(line[name] for name in names)) for line in lines]
    print_table((options.by.upper(), "REQUESTS", "FAILED", "TOKENS IN", "OUT"), rows)
    return 0


def audit(options: argparse.Namespace) -> int:
    """Print the newest changes, oldest first, as a log is read."""
    query = _query(limit=options.limit, who=options.who)
    entries = Client(options.host).json("GET", f"/runnerd/audit?{query}")
    if options.json:
        print_json(entries)
        return 0
    for entry in reversed(entries):
        words = (entry[name] for name in ("who", "action", "route", "subject", "status"))
        print(moment(entry["time"]), *(word for word in words if word != ""))
    return 0


def _query(**values: object) -> str:
    return urlencode({name: value for name, value in values.items() if value is not None})
