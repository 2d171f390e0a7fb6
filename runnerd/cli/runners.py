"""Commands on runners: load, unload, configure."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any
from urllib.parse import quote

from runnerd.cli.client import Client
from runnerd.cli.fit import say_fit
from runnerd.cli.model_paths import model_path
from runnerd.cli.near_models import sought_elsewhere
from runnerd.cli.tables import familiar, print_json
from runnerd.cli.terminal import spinner
from runnerd.errors import ClientError
from runnerd.units import rounded_size

_OPERATIONS = {
    "completion": "chat/completions",
    "embedding": "embeddings",
    "reranking": "rerank",
}


def load(options: argparse.Namespace) -> int:
    """Load models and wait until they are ready, each for what it is made for."""
    client = Client(options.host)
    for model in options.model:
        say_fit(client, model, **({"mode": options.mode} if options.mode else {}))
    with sought_elsewhere(client, options.model), spinner(f"loading {', '.join(options.model)}"):
        if options.mode is None:
            client.json("POST", "/engines/load", {"models": options.model})
        else:
            for model in options.model:
                _load_as(client, model, options.mode)
    if options.json:
        print_json({"loaded_models": options.model})
    else:
        for model in options.model:
            print(f"{model} is ready")
    return 0


def _load_as(client: Client, model: str, mode: str) -> None:
    path, headers = f"/engines/v1/{_OPERATIONS[mode]}", {"X-Preload-Only": "true"}
    client.open("POST", path, {"model": model}, headers=headers).close()


def stop(options: argparse.Namespace) -> int:
    """Unload models, as Ollama's command does."""
    return unload(options)


def unload(options: argparse.Namespace) -> int:
    """Stop idle runners."""
    if not options.model and not options.all:
        raise ClientError("name the models to unload, or give --all")
    client = Client(options.host)
    for name in options.model:
        client.json("GET", model_path(name))  # the route takes any name; people mistype some
    document = {"all": options.all, "models": options.model, "force": options.force}
    response = client.json("POST", "/engines/unload", document)
    if options.json:
        print_json(response)
        return 0
    kept = response.get("runners_in_use")
    if response["unloaded_runners"] or kept:
        print(f"unloaded {response['unloaded_runners']}")
    else:
        print("nothing was loaded" + (f" of {', '.join(options.model)}" if options.model else ""))
    if kept:
        print(f"{kept} in use or waited for: --force ends them and their requests", file=sys.stderr)
    return 0


def described(runner: dict[str, Any]) -> str:
    """Say how a runner serves and what it holds."""
    said = [runner["mode"], runner["state"], f"at once {_slots(runner)}" if _slots(runner) else ""]
    user = f"as uid {runner['user']}" if runner.get("user") is not None else ""
    return ", ".join(part for part in (*said, _memory(runner), user) if part)


def _slots(runner: dict[str, Any]) -> str:
    """Say how many requests a runner serves at once, and the tokens of context that each has."""
    slots, context = runner["slots"], runner["context"]
    if slots is None or context is None:
        return ""
    return f"{slots} x {context}"


def _memory(runner: dict[str, Any]) -> str:
    """Say what a runner holds of its own, and of mapped weights beside that."""
    held = runner.get("memory_used") or runner.get("memory_reserved") or {}
    if not held:
        return ""
    own, mapped = sum(held.values()), runner.get("memory_mapped") or 0
    return rounded_size(own) + (f" + {rounded_size(mapped)} mapped" if mapped else "")


def configure(options: argparse.Namespace) -> int:
    """Set a model's configuration."""
    document: dict[str, object] = {name: None for name in options.unset}
    document |= dict(_assignment(text) for text in options.set)
    if options.context_size is not None:
        document["context-size"] = options.context_size
    if options.mode:
        document["mode"] = options.mode
    if options.keep_alive is not None:
        document["keep_alive"] = options.keep_alive
    if options.flags:
        document["runtime-flags"] = options.flags
    client = Client(options.host)
    if not document.keys() <= {"model", "mode"}:
        if options.force:
            document["force"] = True
        client.json("POST", f"{model_path(options.model)}/configure", document)
        say_fit(client, options.model, **({"mode": options.mode} if options.mode else {}))
        if not options.show:
            return 0
    return _show_configuration(client, options)


def _show_configuration(client: Client, options: argparse.Namespace) -> int:
    """Print what is configured of a model, mode by mode."""
    stored = client.json("GET", f"/engines/_configure?model={quote(options.model, safe='')}")
    shown = [each for each in stored if each["Config"] and options.mode in (None, each["Mode"])]
    if options.json:
        print_json(shown)
        return 0
    for entry in shown:
        print(f"{familiar(entry['Model'])} ({entry['Mode']})")
        for name, value in entry["Config"].items():
            print(f"  {name} = {json.dumps(value)}")
    if not shown:
        print("nothing is configured; `runnerd configure --help` says what can be")
    return 0


def _assignment(text: str) -> tuple[str, object]:
    """Return a field and its value.  Raises errors.ClientError."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ClientError(f"--set {text}: a field and its value are joined by =")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
