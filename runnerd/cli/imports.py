"""`runnerd import`: files, folders, and what other programs have."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from runnerd.cli.adoption import models_below, models_of_others
from runnerd.cli.client import Client
from runnerd.cli.tables import print_json
from runnerd.cli.taken_names import check_free
from runnerd.cli.taking_in import take_in, take_in_archive
from runnerd.errors import ClientError
from runnerd.models.reference import is_of_hugging_face

_COMPRESSED = re.compile(r"\.(tar\.\w+|tgz|tbz2?|txz)$", re.IGNORECASE)


def import_models(options: argparse.Namespace) -> int:
    """Import by path; where the daemon is another user's, send the files instead."""
    if options.source:
        return models_of_others(options)
    if not options.path:
        raise ClientError("name a GGUF file, or a folder with one")
    for path in options.path:
        _refuse_address(path)
    paths = [Path(path) for path in options.path]
    if options.recursive:
        paths = [found for path in paths for found in models_below(path)]
    if options.tag and len(paths) > 1:
        raise ClientError(f"--tag names one model, and here are {len(paths)}")
    _refuse_name(paths)
    client = Client(options.host)
    check_free(client, options.tag, options)
    imported = [_taken(client, options, path) for path in paths]
    if options.json:
        print_json(imported[0] if len(imported) == 1 else imported)
    return 0


def _refuse_address(text: str) -> None:
    """What lies elsewhere is pulled; here it would be a file that there is not."""
    is_address = "://" in text or is_of_hugging_face(text)
    if is_address and not Path(text).exists():
        raise ClientError(
            f"{text} is an address, and import takes files that are here; `runnerd pull {text}`"
            " gets a model from elsewhere"
        )


def _refuse_name(paths: list[Path]) -> None:
    """A name behind a file is a habit from other commands; here it would be a file, too."""
    if len(paths) != 2 or not paths[0].exists():
        return
    name = paths[1]
    if not name.exists() and name.suffix.lower() not in (".gguf", ".tar"):
        raise ClientError(
            f"there is no file {name}; nothing was imported."
            f" `--tag {name}` gives {paths[0].name} that name"
        )


def _taken(client: Client, options: argparse.Namespace, path: Path) -> dict[str, Any]:
    if _COMPRESSED.search(path.name):
        raise ClientError(
            f"{path.name} is compressed, and archives are taken in as they are: decompress it"
            " first, such as with `gunzip`, and import the .tar file"
        )
    if path.suffix.lower() == ".tar":
        return take_in_archive(client, options, path, options.tag)
    return take_in(client, options, path, tag=options.tag, borrow=options.in_place)
