"""Commands that move models: pull, push, pulls, cancel, prune.

The work is the daemon's.  Ctrl-C ends the watching only, and says how to end the work.
"""

from __future__ import annotations

import argparse
import os
import sys
from urllib.parse import quote

from runnerd.cli.client import Client
from runnerd.cli.fit import say_fit
from runnerd.cli.model_paths import model_path
from runnerd.cli.progress import display, follow
from runnerd.cli.tables import familiar, print_json, print_table
from runnerd.models.pages import model_of_page

_INTERRUPTED = 130


def pull(options: argparse.Namespace) -> int:
    """Pull a model and show how far it is."""
    document = {"from": options.model}
    for name in ("tag", "revision", "sha256"):
        if value := getattr(options, name):
            document[name] = value
    if token := os.environ.get("HF_TOKEN"):
        if model_of_page(options.model).lower().startswith(("hf.co/", "huggingface.co/")):
            document["bearer-token"] = token
    return _watch(options, "/models/create", document, "pull")


def push(options: argparse.Namespace) -> int:
    """Push a model and show how far it is."""
    path = f"{model_path(options.model)}/push"
    if options.format != "docker":
        path += f"?format={options.format}"
    return _watch(options, path, {}, "push")


def pulls(options: argparse.Namespace) -> int:
    """List what is under way."""
    jobs = Client(options.host).json("GET", "/models/pulls")
    if options.json:
        print_json(jobs)
        return 0
    rows = [
        (
            job["id"],
            job["kind"],
            familiar(job["model"]),
            f"{100 * job['current'] // job['total']} %" if job["total"] else "",
        )
        for job in jobs
    ]
    print_table(("ID", "KIND", "MODEL", "DONE"), rows)
    return 0


def cancel(options: argparse.Namespace) -> int:
    """End a pull or push."""
    response = Client(options.host).json("DELETE", f"/models/pulls/{quote(options.id)}")
    print(f"cancelled {response['model']}")
    return 0


def prune(options: argparse.Namespace) -> int:
    """Remove leftovers."""
    response = Client(options.host).json("POST", "/models/prune")
    if options.json:
        print_json(response)
    else:
        print(f"freed {response['freed_bytes'] / 1e6:.1f} MB")
    return 0


def _watch(options: argparse.Namespace, path: str, document: object, kind: str) -> int:
    with Client(options.host).open("POST", path, document) as response:
        job = response.headers.get("X-Runnerd-TransferTask", "")
        try:
            with display(quiet=options.json) as shown:
                event = follow(response, shown)
        except KeyboardInterrupt:
            print(
                f"\nthe {kind} goes on in the daemon; `runnerd cancel {job}` ends it",
                file=sys.stderr,
            )
            return _INTERRUPTED
    if options.json:
        print_json(event["model"])
    else:
        print(f"{event['message']}: {', '.join(map(familiar, event['model']['tags']))}")
        if kind == "pull":
            say_fit(Client(options.host), event["model"]["id"])
    return 0
