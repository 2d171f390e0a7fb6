"""What a conversation has the daemon do with models: load, pull what is missing, show, save."""

from __future__ import annotations

import argparse
import json
import sys
from http.client import FORBIDDEN, NOT_FOUND
from typing import Any

from runnerd.cli.chat.conversation import Conversation
from runnerd.cli.chat.sampling import PARAMETERS
from runnerd.cli.client import Client, DaemonError
from runnerd.cli.model_paths import model_path
from runnerd.cli.near_models import explained
from runnerd.cli.pull import pull_missing, refuse_file
from runnerd.cli.tables import print_fields
from runnerd.cli.terminal import spinner
from runnerd.errors import ClientError, RunnerdError
from runnerd.units import parse_duration

_PARTS = ("info", "system", "parameters", "template", "license", "modelfile")


def load_now(client: Client, model: str, keep_alive: str | None = None) -> None:
    """Load a model, so that a wrong name is told before anything is typed.

    A `keep_alive` (5m, 0, -1) holds from then on, until somebody says another.  Who may use models
    but not load them on purpose has it loaded by the first prompt.  Raises DaemonError.
    """
    with spinner(f"loading {model}"):
        if keep_alive is not None and parse_keep_alive(keep_alive) != 0:
            _keep(client, model, keep_alive)
            return
        document = {"model": model, "messages": []}
        headers = {"X-Preload-Only": "true"}
        try:
            with client.open("POST", "/v1/chat/completions", document, headers=headers) as response:
                response.read()
        except DaemonError as error:
            if error.answer_status != FORBIDDEN:
                raise
            client.json("GET", model_path(model))  # says so where there is no such model


def release(client: Client, model: str, keep_alive: str | None) -> None:
    """Unload a model that is to be kept for no time at all.

    What was said before stands: that the model stays, as for who may not unload it, is a warning.
    """
    if keep_alive is None or parse_keep_alive(keep_alive) != 0:
        return
    try:
        _keep(client, model, "0")
    except DaemonError as error:
        sys.stdout.flush()  # the response's last line has ended before it, wherever both go
        print(f"runnerd: {model} stays loaded: {error.message}", file=sys.stderr)


def parse_keep_alive(text: str) -> float:
    """Seconds, below zero for ever.  Raises errors.ClientError."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ClientError(f"--keep-alive: {error}") from error


def _keep(client: Client, model: str, keep_alive: str) -> None:
    """Ollama's way to load a model and to say how long it stays; its dialect has the field."""
    document = {"model": model, "keep_alive": keep_alive, "stream": False}
    client.json("POST", "/api/generate", document)


def see_to(client: Client, options: argparse.Namespace) -> None:
    """Load the model of `runnerd run`; offer to pull one that is not here.  Raises RunnerdError."""
    try:
        load_now(client, options.model, options.keep_alive)
    except DaemonError as error:
        if error.answer_status == NOT_FOUND:
            refuse_file(options.model)
        if error.answer_status != NOT_FOUND or not _wanted(options, error):
            raise
        if status := pull_missing(options.host, options.model):
            raise SystemExit(status) from None
        load_now(client, options.model, options.keep_alive)


def _wanted(options: argparse.Namespace, error: DaemonError) -> bool:
    """Whether whoever asks wants a missing model pulled; somebody has to be there to be asked."""
    if options.pull:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print(explained(error, options.host), file=sys.stderr)
    print(f"Pull {options.model}? [Y/n] ", end="", file=sys.stderr, flush=True)
    reply = sys.stdin.readline()
    if reply.strip().lower() in ("y", "yes") or reply == "\n":
        return True
    raise SystemExit(1)


def show(conversation: Conversation, argument: str) -> None:
    """`/show`: what is set here, or one part of what the model is."""
    if not argument:
        _show_settings(conversation)
        return
    if argument not in _PARTS:
        raise ClientError(f"/show takes {', '.join(_PARTS)}, or nothing")
    about = conversation.client.json("POST", "/api/show", {"model": conversation.model})
    if argument == "info":
        _show_info(about)
    elif argument == "system" and conversation.system:
        print(conversation.system)
    else:
        print(about.get(argument) or f"the model has no {argument}")


def _show_settings(conversation: Conversation) -> None:
    rows = {
        "model": conversation.model,
        "system": conversation.system or "the model's own",
        "said so far": f"{len(conversation.turns)} messages",
        **{
            name: json.dumps(value, ensure_ascii=False)
            for name, value in conversation.parameters.items()
        },
    }
    print_fields(rows)


def _show_info(about: dict[str, Any]) -> None:
    details, info = about["details"], about["model_info"]
    architecture = details.get("family", "")
    rows = {
        "architecture": architecture,
        "parameters": details.get("parameter_size"),
        "quantization": details.get("quantization_level"),
        "context length": info.get(f"{architecture}.context_length"),
        "embedding length": info.get(f"{architecture}.embedding_length"),
        "capabilities": ", ".join(about.get("capabilities", [])),
    }
    print_fields(rows)


def save(conversation: Conversation, name: str) -> None:
    """`/save NAME`: a model of the same weights that has all of this conversation in it."""
    if not name:
        raise ClientError("say what it is to be called: /save NAME")
    names = {field: parameter for parameter, (field, _, _) in PARAMETERS.items()}
    messages = [turn for turn in conversation.turns if isinstance(turn["content"], str)]
    if len(messages) < len(conversation.turns):
        raise ClientError("a conversation with images or sounds cannot be saved")
    document: dict[str, object] = {
        "model": name,
        "from": conversation.model,
        "messages": messages,
        "parameters": {
            names[field]: value
            for field, value in conversation.parameters.items()
            if field in names
        },
    }
    if conversation.system:
        document["system"] = conversation.system
    for line in conversation.client.lines("POST", "/api/create", document):
        if "error" in (said := json.loads(line)):
            raise RunnerdError(str(said["error"]))
    print(f"saved as {name}; /load {name} or `runnerd run {name}` goes on with it")


def load(conversation: Conversation, name: str) -> None:
    """`/load NAME`: another model, or a conversation that was saved; what was said is forgotten."""
    if not name:
        raise ClientError("say which model: /load NAME")
    load_now(conversation.client, name)
    conversation.model, conversation.system = name, None
    conversation.parameters.clear()
    conversation.forget()
