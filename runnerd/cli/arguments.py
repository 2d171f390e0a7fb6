"""What can be typed after `runnerd`."""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runnerd.backends.llamacpp.building.options import add_options
from runnerd.cli.account_arguments import add_account_commands
from runnerd.cli.catalog_arguments import add_catalog_commands
from runnerd.cli.command_groups import TopParser
from runnerd.cli.command_parser import CommandParser, model_name
from runnerd.cli.fleet_arguments import add_fleet_commands
from runnerd.cli.job_arguments import add_job_commands
from runnerd.cli.model_arguments import add_model_commands
from runnerd.cli.run_arguments import add_run_command, separated_think
from runnerd.cli.seeing_arguments import add_seeing_commands
from runnerd.cli.session_arguments import add_session_commands


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options; `run` is the function to call with them.  Exits on wrong usage."""
    parser = make_parser()
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(separated_think(arguments[:end]))
    options.flags = arguments[end + 1 :]
    if options.flags and not options.takes_flags:
        parser.error("only `configure` takes engine flags behind --, and `launch` arguments")
    return options


def _lazily(module: str, name: str) -> Callable[[argparse.Namespace], int]:
    def run(options: argparse.Namespace) -> int:
        function = getattr(importlib.import_module(f"runnerd.cli.{module}"), name)
        return int(function(options) or 0)

    return run


def make_parser() -> argparse.ArgumentParser:
    """Everything that can be typed."""
    parser = TopParser(prog="runnerd", description="Serve the models of this host.")
    parser.set_defaults(takes_flags=False, json=False)
    parser.add_argument(
        "--host",
        default=os.environ.get("RUNNERD_HOST") or None,
        help="the daemon: unix:///path, http(s)://host:port or host:port (RUNNERD_HOST)",
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    commands = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND", parser_class=CommandParser
    )

    def add(name: str, help: str, module: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help, description=help)
        command.set_defaults(run=_lazily(module, name.replace("import", "import_models")))
        return command

    _add_host_commands(add)
    add_model_commands(add)
    _add_runner_commands(add)
    add_fleet_commands(add)
    add_run_command(commands, _lazily)
    add_account_commands(commands, _lazily)
    add_job_commands(commands, _lazily)
    add_seeing_commands(commands, _lazily)
    add_session_commands(commands, _lazily)
    add_catalog_commands(commands, _lazily)
    return parser


class _Version(argparse.Action):
    """Prints the version; the package is not imported for anything else."""

    def __init__(self, option_strings: list[str], dest: str, **rest: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=rest.get("help"))

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        import runnerd

        print(f"runnerd {runnerd.__version__}")
        parser.exit()


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
    settings = add("settings", "every setting of the daemon, with its default", "setting_pages")
    form = settings.add_mutually_exclusive_group()
    form.add_argument("--toml", action="store_true", help="as a settings file to start from")
    form.add_argument("--markdown", action="store_true", help="as the page of the documentation")
    form.add_argument("--json", action="store_true", help="print JSON")
    completion = add("completion", "print a shell's script for completion", "completing")
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))
    complete = add("complete", "what could be typed next; for the shells' scripts", "completing")
    complete.set_defaults(takes_flags=True)
    man = add("man", "print a manual page, or write all of them into a folder", "manual")
    man.add_argument("command", nargs="*")
    man.add_argument("--into", metavar="DIR", help="write all pages there")
    launch = add("launch", "start a client of this daemon's models, set up for it", "launching")
    launch.add_argument("client", choices=("claude", "codex", "opencode"))
    launch.add_argument("--model", type=model_name, help="default: one that can chat")
    launch.add_argument("--print", action="store_true", help="print what would be set, start none")
    launch.set_defaults(takes_flags=True)


def _add_runner_commands(add: _Add) -> None:
    load = add("load", "load a model now", "runners")
    load.add_argument("model", nargs="+", type=model_name)
    load.add_argument(
        "--mode",
        choices=("completion", "embedding", "reranking"),
        help="what for; default: what the model is made for",
    )
    _json(load)
    unload = add("unload", "stop a model's runners that nobody uses or waits for", "runners")
    unload.add_argument("model", nargs="*", type=model_name)
    unload.add_argument("--all", action="store_true")
    unload.add_argument(
        "--force", action="store_true", help="end those in use too, and the requests that wait"
    )
    _json(unload)
    stop = add("stop", "the same as unload, under Ollama's name", "runners")
    stop.add_argument("model", nargs="+", type=model_name)
    stop.set_defaults(all=False, force=False)
    _json(stop)
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
    configure.add_argument("--show", action="store_true", help="print what is set")
    _json(configure)
    configure.set_defaults(takes_flags=True)


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")
