"""One model's way into the store: by path, or sent by this command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from http.client import FORBIDDEN
from pathlib import Path
from typing import Any

from runnerd.cli.client import Client, DaemonError
from runnerd.cli.near_models import names_here
from runnerd.cli.progress import Display, display, follow
from runnerd.cli.tables import familiar
from runnerd.cli.taken_names import check_free
from runnerd.errors import ClientError
from runnerd.models.reference import one_spelling


def take_in(
    client: Client,
    options: argparse.Namespace,
    path: Path,
    *,
    tag: str | None,
    borrow: bool = False,
) -> dict[str, Any]:
    """Import one model and say so; return its document.

    What is borrowed stays where it is; a daemon that cannot read it there says so.
    """
    document: dict[str, object] = {"path": str(path.absolute())}
    if borrow:
        document["borrow"] = True
    if not options.force:
        document["keep-names"] = True
    for name, value in (("mmproj", options.mmproj), ("chat-template", options.chat_template)):
        if value:
            document[name] = str(Path(value).absolute())
    if tag:
        document["tag"] = tag
    before = [] if tag or options.json else names_here(client)
    with display(quiet=options.json) as shown:
        try:
            with client.open("POST", "/models/import", document) as response:
                model: dict[str, Any] = follow(response, shown)["model"]
        except DaemonError as error:
            if error.answer_status != FORBIDDEN:
                raise
            if borrow:
                raise ClientError(f"{error.message}; --copy sends a copy instead") from error
            model = _send(client, options, path, tag, shown)
    if not options.json:
        _say(model, tag, before)
    return model


def take_in_archive(
    client: Client, options: argparse.Namespace, path: Path, tag: str | None
) -> dict[str, Any]:
    """Take in an archive that `export` has written, or another program, and say so."""
    from runnerd.cli.upload import default_name, send_archive

    for name, value in (("--in-place", options.in_place), ("--mmproj", options.mmproj),
                        ("--chat-template", options.chat_template)):  # fmt: skip
        if value:
            raise ClientError(f"{name} is for GGUF files, and {path.name} is an archive")
    name = tag or default_name(path)
    if not tag:
        check_free(client, name, options)
    with display(quiet=options.json) as shown:
        model = send_archive(client, path, tag=name, shown=shown)
    if not options.json:
        _say(model, name, [])
    return model


def _send(
    client: Client, options: argparse.Namespace, path: Path, tag: str | None, shown: Display
) -> dict[str, Any]:
    from runnerd.cli.upload import send  # it reads GGUF files, which no other command needs

    return send(
        client,
        path,
        mmproj=Path(options.mmproj) if options.mmproj else None,
        chat_template=Path(options.chat_template) if options.chat_template else None,
        tag=tag,
        check=lambda name: check_free(client, name, options),
        shown=shown,
    )


def _say(model: dict[str, Any], name: str | None, before: Sequence[str]) -> None:
    """Print the name that a model was given: `name`, else the one that was not there `before`.

    The same model may have had others.
    """
    names = [familiar(tag) for tag in model.get("tags", [])]
    new = [one_spelling(name)] if name else [each for each in names if each not in before]
    given, others = new or names, [each for each in names if new and each not in new]
    also = f", also called {', '.join(others)}" if others else ""
    print(f"imported {', '.join(given)} ({model['id'][:19]}){also}")
