"""Commands on the store: ls, show, tag, rm."""

from __future__ import annotations

import argparse
from typing import Any

from runnerd.cli.client import Client
from runnerd.cli.fit import sentence
from runnerd.cli.model_paths import model_path, tag_query
from runnerd.cli.runners import described
from runnerd.cli.tables import familiar, print_items, print_json, print_table
from runnerd.cli.taken_names import check_free


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
            "borrowed" if model["runnerd"].get("borrowed_bytes") else "",
            model["id"].removeprefix("sha256:")[:12],
        )
        for model in models
        for tag in model.get("tags") or ["<none>"]
    ]
    heads = ("MODEL", "PARAMETERS", "QUANTIZATION", "ARCHITECTURE", "SIZE", "FILES", "ID")
    print_table(heads, rows, spare=("ID", "ARCHITECTURE", "FILES", "PARAMETERS"))
    return 0


def show(options: argparse.Namespace) -> int:
    """Print everything about models."""
    client = Client(options.host)
    models = [client.json("GET", model_path(name)) for name in options.model]
    if options.json:
        print_json(models[0] if len(models) == 1 else models)
        return 0
    runners = client.json("GET", "/engines/ps")
    for number, model in enumerate(models):
        if number:
            print()
        _print_model(client, model, runners)
    return 0


def _print_model(client: Client, model: dict[str, Any], runners: list[dict[str, Any]]) -> None:
    about = {
        "id": model["id"],
        "tags": ", ".join(model.get("tags", [])),
        **{name: value for name, value in model["config"].items() if name != "gguf"},
        **model["runnerd"],
    }
    if not about.pop("borrowed_bytes", 0):
        pass
    elif files := model.get("borrowed_files"):
        about["borrowed"] = ", ".join(files)
    else:
        about["borrowed"] = "files of the daemon's host"
    about["capabilities"] = ", ".join(model["runnerd"]["capabilities"])
    served = [described(item) for item in runners if item["model_id"] == model["id"]]
    about["runners"] = "; ".join(served) or "none"
    about["fits"] = sentence(client, _first_name(model)) or "unknown"
    for name, value in about.items():
        print(f"{name + ':':20} {value}")


def _first_name(model: dict[str, Any]) -> str:
    return familiar(str(next(iter(model.get("tags") or [model["id"]]))))


def tag(options: argparse.Namespace) -> int:
    """Give a model more names."""
    client = Client(options.host)
    model = client.json("GET", model_path(options.model))
    for name in options.name:
        check_free(client, name, options, unless=model["id"])
    given = [
        client.json("POST", f"{model_path(options.model)}/tag?{tag_query(name)}")["target"]
        for name in options.name
    ]
    print_items(given, as_json=options.json)
    return 0


def rm(options: argparse.Namespace) -> int:
    """Remove names, or models."""
    query = "?force=true" if options.force else ""
    client, removed = Client(options.host), []
    for name in options.model:
        entries = client.json("DELETE", f"{model_path(name)}{query}")
        removed += entries
        if not options.json:
            for entry in entries:
                for kind, what in entry.items():
                    print(f"{kind}: {what}")
    if options.json:
        print_json(removed)
    return 0
