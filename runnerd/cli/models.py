"""Commands on the store: ls, show, tag, rm."""

from __future__ import annotations

import argparse
from typing import Any

from runnerd.cli.all_known import check_all_known
from runnerd.cli.client import Client
from runnerd.cli.fit import sentence
from runnerd.cli.model_paths import model_path, tag_query
from runnerd.cli.runners import described
from runnerd.cli.tables import familiar, print_fields, print_items, print_json, print_table
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
    if options.template and not options.json:
        print("\n".join(_template(model) for model in models))
        return 0
    if options.json:
        print_json(models[0] if len(models) == 1 else models)
        return 0
    runners = client.json("GET", "/engines/ps")
    owner = "superuser" in client.json("GET", "/runnerd/me")["may"]
    for number, (name, model) in enumerate(zip(options.model, models, strict=True)):
        if number:
            print()
        _print_model(client, name, model, runners, owner=owner)
    return 0


def _print_model(
    client: Client,
    name: str,
    model: dict[str, Any],
    runners: list[dict[str, Any]],
    *,
    owner: bool,
) -> None:
    more = model["runnerd"]
    own = [item for item in runners if item["model_id"] == model["id"]]
    served = [described(item) for item in own]
    known = {key: value for key, value in model["config"].items() if key not in _SAID}
    about = {
        "id": model["id"],
        "names": ", ".join(map(familiar, model.get("tags", []))),
        **known,
        "context": _context(model),
        "capabilities": ", ".join(more["capabilities"]),
        "template": _described_template(name, model),
        "projector": "yes" if more.get("mmproj") else "",
        "draft": _draft(name, model, owner=owner),
        "borrowed": _borrowed(model),
        "runners": "; ".join(served) or "none",
        "engine": "; ".join(dict.fromkeys(item["engine"] for item in own if item["engine"])),
        "fits": sentence(client, name) or "unknown",
        **{key: value for key, value in more.items() if key not in _SAID},
    }
    print_fields(about)


_SAID = frozenset(
    {"gguf", "context_size", "context_length", "capabilities", "chat_template", "mmproj"}
    | {"borrowed_bytes", "size_bytes", "draft_model"}
)
"""What is said in other words than the API's."""


def _context(model: dict[str, Any]) -> str:
    """The longest context that a model was made for, and its packager's where that is another."""
    trained, packaged = model["runnerd"].get("context_length"), model["config"].get("context_size")
    if not trained or not packaged or packaged == trained:
        return f"{trained or packaged} tokens" if trained or packaged else ""
    return f"{packaged} tokens, of the {trained} that it was made for"


def _template(model: dict[str, Any]) -> str:
    return str(model["runnerd"].get("chat_template") or "")


def _described_template(name: str, model: dict[str, Any]) -> str:
    text = _template(model)
    return f"{len(text)} characters (`runnerd show {name} --template` prints it)" if text else ""


def _borrowed(model: dict[str, Any]) -> str:
    if not model["runnerd"].get("borrowed_bytes"):
        return ""
    return ", ".join(model.get("borrowed_files") or ["files of the daemon's host"])


def _draft(name: str, model: dict[str, Any], *, owner: bool) -> str:
    """The model that drafts for one, and for an owner how that ends."""
    draft = familiar(str(model["runnerd"].get("draft_model") or ""))
    if not draft or not owner:
        return draft
    return f"{draft} (`runnerd configure {name} --unset speculative` ends that)"


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
    print_items(given if options.json else list(map(familiar, given)), as_json=options.json)
    return 0


def rm(options: argparse.Namespace) -> int:
    """Remove names, or models."""
    query = "?force=true" if options.force else ""
    client, removed = Client(options.host), []
    if len(options.model) > 1:
        check_all_known(client, map(model_path, options.model), "removed")
    for name in options.model:
        entries = client.json("DELETE", f"{model_path(name)}{query}")
        removed += entries
        if not options.json:
            for entry in entries:
                for kind, what in entry.items():
                    print(f"{kind}: {familiar(what)}")
    if options.json:
        print_json(removed)
    return 0
