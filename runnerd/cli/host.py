"""Commands on the daemon and its host: status, logs, install, version."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

import runnerd
from runnerd.cli.client import Client, DaemonError
from runnerd.cli.tables import print_json
from runnerd.errors import ClientError


def status(options: argparse.Namespace) -> int:
    """Print what the daemon and its backends say."""
    client = Client(options.host)
    document = {
        "address": client.address,
        "version": client.json("GET", "/version")["version"],
        "health": client.json("GET", "/health"),
        "backends": client.json("GET", "/engines/status"),
        "database": _database(client),
    }
    if options.json:
        print_json(document)
        return 0
    print(f"runnerd {document['version']} answers at {client.address}")
    for name, text in document["backends"].items():
        print(f"{name}: {text}")
    if document["database"] and document["database"]["problem"]:
        print(f"database: {document['database']['problem']}")
    return 0


def _database(client: Client) -> Any:
    """How the database is, None for who may not know."""
    try:
        return client.json("GET", "/runnerd/database")
    except DaemonError:
        return None


def install(options: argparse.Namespace) -> int:
    """See to an engine: in this command's environment, else below the state directory.

    A llama-server that is here already will do, unless the options ask for another one.
    """
    if options.backend != "llama.cpp":
        raise ClientError(f"there is no backend {options.backend!r} to install (try: llama.cpp)")
    from runnerd.backends.llamacpp import install, places

    root = places.environment_root()
    if options.state_dir is not None:
        root = options.state_dir.absolute() / "engines"
    elif not os.access(sys.prefix, os.W_OK):
        from runnerd.config import load

        root = load({}).state_dir / "engines"
    return install.run(root, install.request_of(options, found=True))


def version(options: argparse.Namespace) -> int:
    """Print the version."""
    if options.json:
        print_json({"version": runnerd.__version__})
    else:
        print(f"runnerd {runnerd.__version__}")
    return 0
