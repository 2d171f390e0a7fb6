"""`runnerd backup` and `runnerd restore`: the daemon's database as a file, while it runs."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

from runnerd.cli.client import Client
from runnerd.cli.tables import print_json
from runnerd.errors import ClientError


def backup(options: argparse.Namespace) -> int:
    """Write a copy; the file is for its owner's eyes, and there only once it is whole."""
    file: Path = options.file
    if file.is_dir():
        raise ClientError(f"{file} is a folder; name a file")
    if not file.parent.is_dir():
        raise ClientError(f"{file.parent} is not a folder that is there")
    part = file.with_name(f".{file.name}.part-{os.getpid()}")
    try:
        with Client(options.host).open("POST", "/runnerd/backup") as response:
            expected = int(response.headers.get("Content-Length") or 0)
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
            with open(os.open(part, flags, 0o600), "wb") as target:
                shutil.copyfileobj(response, target)
                target.flush()
                os.fsync(target.fileno())
        size = part.stat().st_size
        if size != expected:
            raise ClientError(f"the copy broke off after {size} of {expected} bytes; try again")
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
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
