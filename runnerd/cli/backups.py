"""`runnerd backup` and `runnerd restore`: the daemon's database as a file, while it runs."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

from runnerd.cli.client import Client
from runnerd.cli.output_files import check_output, output_file
from runnerd.cli.tables import print_json
from runnerd.errors import ClientError


def backup(options: argparse.Namespace) -> int:
    """Write a copy; the file is for its owner's eyes, and there only once it is whole."""
    file: Path = options.file
    check_output(file, force=options.force)
    with (
        Client(options.host).open("POST", "/runnerd/backup") as response,
        output_file(file, mode=0o600) as target,
    ):
        expected = int(response.headers.get("Content-Length") or 0)
        shutil.copyfileobj(response, target)
        size = target.tell()
        if size != expected:
            raise ClientError(f"the copy broke off after {size} of {expected} bytes; try again")
    if options.json:
        print_json({"file": str(file), "bytes": size})
    else:
        print(f"wrote {file}, {size} bytes; it has no keys, but names and usage")
    return 0


def restore(options: argparse.Namespace) -> int:
    """Put a copy in the place of what the daemon has."""
    file: Path = options.file
    try:
        source = open(file, "rb")
    except OSError as error:
        raise ClientError(f"cannot read {file}: {error.strerror}") from error
    with source:
        size = str(os.fstat(source.fileno()).st_size)
        headers = {"Content-Type": "application/vnd.sqlite3", "Content-Length": size}
        with Client(options.host).open(
            "POST", "/runnerd/restore", headers=headers, body=source
        ) as response:
            response.read()
    if options.json:
        print_json({"file": str(file)})
    else:
        print(f"restored {file}; `runnerd user list` shows who has keys now")
    return 0
