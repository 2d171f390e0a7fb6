"""Commands on the store: import, ls, show, tag, rm."""

from __future__ import annotations

import argparse
from http.client import FORBIDDEN
from pathlib import Path
from typing import Any

from runnerd.cli.client import Client, DaemonError
from runnerd.cli.fit import sentence
from runnerd.cli.model_paths import model_path, tag_query
from runnerd.cli.progress import Display, display, follow
from runnerd.cli.runners import described
from runnerd.cli.tables import familiar, print_json, print_table


def import_model(options: argparse.Namespace) -> int:
    """Import by path; where the daemon is another user's, send the files instead."""
    client = Client(options.host)
    document = {"path": str(Path(options.path).absolute())}
    for name, value in (("mmproj", options.mmproj), ("chat-template", options.chat_template)):
        if value:
            document[name] = str(Path(value).absolute())
    if options.tag:
        document["tag"] = options.tag
    with display(quiet=options.json) as shown:
        try:
            with client.open("POST", "/models/import", document) as response:
                model = follow(response, shown)["model"]
        except DaemonError as error:
            if error.answer_status != FORBIDDEN:
                raise
            model = _send(client, options, shown)
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
    model = Client(options.host).json("GET", model_path(options.model))
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
    runners = Client(options.host).json("GET", "/engines/ps")
    served = [described(item) for item in runners if item["model_id"] == model["id"]]
    about["runners"] = "; ".join(served) or "none"
    about["fits"] = sentence(Client(options.host), options.model) or "unknown"
    for name, value in about.items():
        print(f"{name + ':':20} {value}")
    return 0


def tag(options: argparse.Namespace) -> int:
    """Give a model one more name."""
    query = tag_query(options.name)
    response = Client(options.host).json("POST", f"{model_path(options.model)}/tag?{query}")
    print(response["target"])
    return 0


def rm(options: argparse.Namespace) -> int:
    """Remove a name, or a model."""
    query = "?force=true" if options.force else ""
    for entry in Client(options.host).json("DELETE", f"{model_path(options.model)}{query}"):
        for kind, what in entry.items():
            print(f"{kind}: {what}")
    return 0


def _send(client: Client, options: argparse.Namespace, shown: Display) -> dict[str, Any]:
    from runnerd.cli.upload import send  # it reads GGUF files, which no other command needs

    return send(
        client,
        Path(options.path),
        mmproj=Path(options.mmproj) if options.mmproj else None,
        chat_template=Path(options.chat_template) if options.chat_template else None,
        tag=options.tag,
        shown=shown,
    )
