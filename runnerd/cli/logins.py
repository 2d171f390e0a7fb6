"""`runnerd login`, `logout` and `logins`: a user's own logins elsewhere.

A password is asked for, or read from standard input: arguments of a process are everybody's.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from urllib.parse import quote

from runnerd.cli.client import Client
from runnerd.cli.tables import moment, print_json, print_table
from runnerd.errors import ClientError

_PATH = "/runnerd/logins"
_MOST = 2**16


def login(options: argparse.Namespace) -> int:
    """Let the daemon keep a login."""
    document = {"registry": options.registry, "password": _secret(options)}
    if options.username:
        document["username"] = options.username
    made = Client(options.host).json("POST", _PATH, document)
    if options.json:
        print_json(made)
    else:
        print(f"the daemon keeps your login at {made['registry']}")
    return 0


def logout(options: argparse.Namespace) -> int:
    """Have the daemon forget one."""
    path = f"{_PATH}/{quote(options.registry, safe='')}"
    gone = Client(options.host).json("DELETE", path)
    if options.json:
        print_json(gone)
    else:
        print(f"the daemon has forgotten your login at {gone['registry']}")
    return 0


def list_all(options: argparse.Namespace) -> int:
    """List one's own."""
    found = Client(options.host).json("GET", _PATH)
    if options.json:
        print_json(found)
        return 0
    rows = [
        (each["registry"], each["username"] or "(token)", moment(each["created"])) for each in found
    ]
    print_table(("REGISTRY", "USERNAME", "SINCE"), rows)
    return 0


def _secret(options: argparse.Namespace) -> str:
    if options.password_stdin:
        secret = sys.stdin.read(_MOST).strip("\r\n")
    elif sys.stdin.isatty():
        what = "Password: " if options.username else "Token: "
        secret = getpass.getpass(what)
    else:
        raise ClientError(
            "there is no terminal to ask at for the password or token: pipe it in, and add"
            " --password-stdin"
        )
    if not secret:
        raise ClientError("the password is empty")
    return secret
