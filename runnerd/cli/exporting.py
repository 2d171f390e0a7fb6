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
from runnerd.cli.output_files import check_output, output_file
from runnerd.cli.progress import display
from runnerd.cli.tables import print_json
from runnerd.errors import ClientError

_PIECE_BYTES = 2**20
_WRITTEN = {
    "docker": "a tar archive in Docker Model Runner's form",
    "modelpack": "a tar archive with a CNCF ModelPack",
}
_OTHER_FORMATS = frozenset(
    {".gguf", ".ggml", ".safetensors", ".bin", ".pt", ".onnx", ".json", ".gz", ".tgz", ".zip"}
    | {".zst", ".xz", ".bz2", ".7z"}
)
"""Endings that would say that the file is something else."""
_STANDARD_OUTPUT = frozenset({"/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"})


def export(options: argparse.Namespace) -> int:
    """Write the archive, whole or not at all."""
    output = options.output or re.sub(r"[^A-Za-z0-9._-]+", "-", options.model)[:128] + ".tar"
    if output == "-":
        if sys.stdout.isatty():
            raise ClientError("an archive is nothing for a terminal; name a file with -o")
    elif output in _STANDARD_OUTPUT:
        raise ClientError(f"{output} is written with `-o -`")
    else:
        _check_ending(output)
        check_output(Path(output), force=options.force)
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
        print_json({"file": output, "bytes": written, "format": options.format})
    elif output != "-":
        print(f"wrote {output}: {_WRITTEN[options.format]}, which `runnerd import` takes")
    return 0


def _check_ending(output: str) -> None:
    """Raises errors.ClientError for the name of a file that is no tar archive."""
    ending = Path(output).suffix
    if ending.lower() in _OTHER_FORMATS:
        raise ClientError(
            f"{output} would be a tar archive and no {ending[1:]} file; call it"
            f" {Path(output).with_suffix('.tar')}. The model's files lie in it as blobs/sha256/..."
        )


@contextlib.contextmanager
def _target(output: str) -> Iterator[BinaryIO]:
    """The file to write, which is there once all of it is."""
    if output == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with output_file(Path(output)) as file:
        yield file
