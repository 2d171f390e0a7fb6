"""What can be typed after `runnerd`."""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Callable
from pathlib import Path

from runnerd.backends.llamacpp.building.options import add_options
from runnerd.cli.account_arguments import add_account_commands
from runnerd.cli.command_parser import CommandParser, model_name
from runnerd.cli.fleet_arguments import add_fleet_commands
from runnerd.cli.job_arguments import add_job_commands
from runnerd.cli.run_arguments import add_run_command, separated_think
from runnerd.cli.seeing_arguments import add_seeing_commands
from runnerd.cli.session_arguments import add_session_commands


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options; `run` is the function to call with them.  Exits on wrong usage."""
    parser = _parser()
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(separated_think(arguments[:end]))
    options.flags = arguments[end + 1 :]
    if options.flags and not options.takes_flags:
        parser.error("only `configure` takes engine flags behind --")
    return options


def _lazily(module: str, name: str) -> Callable[[argparse.Namespace], int]:
    def run(options: argparse.Namespace) -> int:
        function = getattr(importlib.import_module(f"runnerd.cli.{module}"), name)
        return int(function(options) or 0)

    return run


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="runnerd", description="Serve the models of this host.")
    parser.set_defaults(takes_flags=False, json=False)
    parser.add_argument(
        "--host",
        default=os.environ.get("RUNNERD_HOST"),
        help="the daemon: unix:///path or http(s)://host:port (RUNNERD_HOST)",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, help: str, module: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help, description=help)
        command.set_defaults(run=_lazily(module, name.replace("import", "import_model")))
        return command

    _add_host_commands(add)
    _add_model_commands(add)
    _add_runner_commands(add)
    add_fleet_commands(add)
    add_run_command(commands, _lazily)
    add_account_commands(commands, _lazily)
    add_job_commands(commands, _lazily)
    add_seeing_commands(commands, _lazily)
    add_session_commands(commands, _lazily)
    return parser


_Add = Callable[[str, str, str], argparse.ArgumentParser]


def _add_host_commands(add: _Add) -> None:
    serve = add("serve", "run the daemon", "serve")
    serve.add_argument("--config", metavar="FILE", help="settings file (TOML)")
    serve.add_argument("--socket", metavar="PATH", help="control socket")
    serve.add_argument("--listen", metavar="HOST:PORT", help="TCP address; empty for none")
    serve.add_argument("--state-dir", metavar="DIR", help="models and state")
    serve.add_argument("--runtime-dir", metavar="DIR", help="sockets and locks")
    serve.add_argument(
        "--first-run", action="store_true", help="see to a model, ask it one question, stay up"
    )
    _json(add("status", "what the daemon and its backends say", "host"))
    ui = add("ui", "open the owner's page in a browser", "ui")
    ui.add_argument("--no-browser", action="store_true", help="print its address only")
    ui.add_argument("--port", type=int, default=0, metavar="N", help="on loopback; default: any")
    _json(add("doctor", "what is missing on this host, and how to get it", "doctor"))
    install = add("install", "see to an engine that fits this host and has answered on it", "host")
    install.add_argument("backend", nargs="?", default="llama.cpp")
    install.add_argument("--state-dir", type=Path, metavar="DIR", help="below a daemon's state")
    add_options(install)
    _json(add("version", "print the version", "host"))


def _add_model_commands(add: _Add) -> None:
    take = add("import", "take a GGUF file, or a folder with one, into the store", "models")
    take.add_argument("path")
    take.add_argument("--tag", metavar="NAME", help="default: from the file's name")
    take.add_argument("--mmproj", metavar="FILE", help="projector of a vision model")
    take.add_argument("--chat-template", metavar="FILE", help="Jinja template to use")
    _json(take)
    pull = add("pull", "get a model: from a registry, hf.co/ORG/REPO[:QUANT], or a URL", "pull")
    pull.add_argument("model", type=model_name)
    pull.add_argument("--tag", metavar="NAME", help="what to call it; default: as it was asked for")
    pull.add_argument("--revision", metavar="REV", help="of a Hugging Face repository")
    pull.add_argument("--sha256", metavar="HEX", help="of the file behind a URL")
    _json(pull)
    push = add("push", "send a model to the registry that its name says", "pull")
    push.add_argument("model", type=model_name)
    push.add_argument(
        "--format",
        choices=("docker", "modelpack"),
        default="docker",
        help="how it is written there: as Docker Model Runner does (default), or as the CNCF's"
        " ModelPack",
    )
    _json(push)
    _json(add("pulls", "list the pulls and pushes that are under way", "pull"))
    cancel = add("cancel", "end a pull or push (see `pulls`); what has arrived stays", "pull")
    cancel.add_argument("id")
    _json(
        add("prune", "remove leftovers: blobs of no model, pulls that nobody goes on with", "pull")
    )
    _json(add("ls", "list the models", "models"))
    show = add("show", "everything about a model", "models")
    show.add_argument("model", type=model_name)
    _json(show)
    tag = add("tag", "give a model one more name", "models")
    tag.add_argument("model", type=model_name)
    tag.add_argument("name", type=model_name)
    remove = add("rm", "remove a name; with the last one the model", "models")
    remove.add_argument("model", type=model_name)
    remove.add_argument("--force", action="store_true", help="even if it is in use")


def _add_runner_commands(add: _Add) -> None:
    load = add("load", "load a model now", "runners")
    load.add_argument("model", type=model_name)
    load.add_argument(
        "--mode", choices=("completion", "embedding", "reranking"), default="completion"
    )
    unload = add("unload", "stop a model's runners that nobody uses or waits for", "runners")
    unload.add_argument("model", nargs="*", type=model_name)
    unload.add_argument("--all", action="store_true")
    unload.add_argument(
        "--force", action="store_true", help="end those in use too, and the requests that wait"
    )
    configure = add(
        "configure",
        "set how a model is loaded, kept and asked; engine flags behind --",
        "runners",
    )
    configure.add_argument("model", type=model_name)
    configure.add_argument("--context-size", type=int, metavar="N")
    configure.add_argument(
        "--keep-alive", metavar="TIME", help="how long it stays loaded unused: 5m, 0, -1 for ever"
    )
    configure.add_argument(
        "--set",
        action="append",
        metavar="FIELD=VALUE",
        default=[],
        help="any field of docs/configuration.md, such as max_instances=2; VALUE is JSON or text",
    )
    configure.add_argument(
        "--unset", action="append", metavar="FIELD", default=[], help="back to its default"
    )
    configure.add_argument(
        "--force", action="store_true", help="also what is unwise, or cannot be loaded here"
    )
    configure.add_argument("--mode", choices=("completion", "embedding", "reranking"), default=None)
    configure.set_defaults(takes_flags=True)


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")
