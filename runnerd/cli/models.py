"""Commands on the store: import, ls, show, tag, rm."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from runnerd.cli.client import Client, DaemonError
from runnerd.cli.tables import familiar, print_json, print_table
from runnerd.errors import RunnerdError


def import_model(options: argparse.Namespace) -> int:
    """Import by path; where the daemon is another user's, send the files instead."""
    client = Client(options.host)
    document = {"path": str(Path(options.path).absolute())}
    for name, value in (("mmproj", options.mmproj), ("chat-template", options.chat_template)):
        if value:
            document[name] = str(Path(value).absolute())
    if options.tag:
        document["tag"] = options.tag
    try:
        model = _follow(client.lines("POST", "/models/import", document), quiet=options.json)
    except DaemonError as error:
        if error.answer_status != 403:
            raise
        model = _upload(client, options)
    if options.json:
        print_json(model)
    else:
        print(f"imported {', '.join(map(familiar, model.get('tags', [])))} ({model['id'][:19]})")
    return 0


def ls(options: argparse.Namespace) -> int:
    """List the models."""
    models = Client(options.host).json("GET", "/models")
    if options.json:
        print_json(models)
        return 0
    rows = [
        (
            familiar(tag),
            model["config"].get("parameters", ""),
            model["config"].get("quantization", ""),
            model["config"].get("architecture", ""),
            model["config"].get("size", ""),
            model["id"].removeprefix("sha256:")[:12],
        )
        for model in models
        for tag in model.get("tags") or ["<none>"]
    ]
    print_table(("MODEL", "PARAMETERS", "QUANTIZATION", "ARCHITECTURE", "SIZE", "ID"), rows)
    return 0


def show(options: argparse.Namespace) -> int:
    """Print everything about a model."""
    model = Client(options.host).json("GET", f"/models/{quote(options.model)}")
    if options.json:
        print_json(model)
        return 0
    about = {
        "id": model["id"],
        "tags": ", ".join(model.get("tags", [])),
        **{name: value for name, value in model["config"].items() if name != "gguf"},
        **model["runnerd"],
    }
    about["capabilities"] = ", ".join(model["runnerd"]["capabilities"])
    for name, value in about.items():
        print(f"{name + ':':20} {value}")
    return 0


def tag(options: argparse.Namespace) -> int:
    """Give a model one more name."""
    repository, separator, label = options.name.rpartition(":")
    if not separator or "/" in label:
        repository, label = options.name, "latest"
    query = urlencode({"repo": repository, "tag": label})
    answer = Client(options.host).json("POST", f"/models/{quote(options.model)}/tag?{query}")
    print(answer["target"])
    return 0


def rm(options: argparse.Namespace) -> int:
    """Remove a name, or a model."""
    query = "?force=true" if options.force else ""
    for entry in Client(options.host).json("DELETE", f"/models/{quote(options.model)}{query}"):
        for kind, what in entry.items():
            print(f"{kind}: {what}")
    return 0


def _follow(lines: Iterator[bytes], *, quiet: bool) -> dict[str, Any]:
    """Show a progress stream and return the model of its last line."""
    live = sys.stderr.isatty() and not quiet
    for line in lines:
        event = json.loads(line)
        if event["type"] == "success":
            if live:
                print(file=sys.stderr)
            return dict(event["model"])
        if event["type"] == "error":
            raise RunnerdError(event["message"])
        layer = event["layer"]
        if live and layer["size"]:
            percent = 100 * layer["current"] // layer["size"]
            print(f"\r{layer['id']}: {percent} %  ", end="", file=sys.stderr, flush=True)
    raise RunnerdError("the daemon broke the import off")


def _upload(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    """Send the files as an archive, then name the model."""
    import asyncio

    return asyncio.run(_pack_and_send(client, options))


async def _pack_and_send(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    from runnerd.models.packing import pack_files

    packed = await pack_files(
        [Path(options.path)],
        mmproj=Path(options.mmproj) if options.mmproj else None,
        chat_template=Path(options.chat_template) if options.chat_template else None,
        progress=None,
    )
    with packed:
        pieces = [piece async for piece in packed.chunks()] if packed.size < 2**26 else None
        if pieces is None:
            raise RunnerdError(
                "the daemon runs as another user and the file is too large to send this way yet;"
                " import it as that user"
            )
        headers = {"Content-Type": "application/x-tar", "Content-Length": str(packed.size)}
        with client.open("POST", "/models/load", headers=headers, body=pieces) as answer:
            model = _follow(iter(answer), quiet=True)
        name = options.tag or str(packed.default_tag)
    repository, separator, label = name.rpartition(":")
    if not separator or "/" in label:
        repository, label = name, "latest"
    client.json(
        "POST", f"/models/{model['id']}/tag?{urlencode({'repo': repository, 'tag': label})}"
    )
    return dict(client.json("GET", f"/models/{model['id']}"))
