"""`runnerd export`: a model as one archive."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from runnerd.cli.client import Client
from runnerd.cli.model_paths import model_path
from runnerd.cli.progress import display
from runnerd.cli.tables import print_json
from runnerd.errors import ClientError

_PIECE_BYTES = 2**20


def export(options: argparse.Namespace) -> int:
    """Write the archive, whole or not at all."""
    output = options.output or re.sub(r"[^A-Za-z0-9._-]+", "-", options.model)[:128] + ".tar"
    if output == "-" and sys.stdout.isatty():
        raise ClientError("an archive is nothing for a terminal; name a file with -o")
    path = f"{model_path(options.model)}/export?format={options.format}"
    with Client(options.host).open("GET", path) as response, display(quiet=options.json) as shown:
        size, written = int(response.headers["Content-Length"]), 0
        with _target(output) as file:
            while piece := response.read(_PIECE_BYTES):
                file.write(piece)
                written += len(piece)
                shown.advance("writing", written, size)
            if written < size:
                raise ClientError("the archive broke off; the daemon's log has more")
    if options.json and output != "-":
        print_json({"file": output, "bytes": written})
    elif output != "-":
        print(f"wrote {output}")
    return 0


@contextlib.contextmanager
def _target(output: str) -> Iterator[BinaryIO]:
    """The file to write, which is there once all of it is."""
    if output == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    partial = Path(f"{output}.part")
    try:
        with open(partial, "wb") as file:
            yield file
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
