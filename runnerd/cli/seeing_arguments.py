"""What can be typed to see what the daemon does: `runnerd ps`, `top`, `requests`, `logs`, ..."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from runnerd.cli.command_parser import model_name

Lazily = Callable[[str, str], Callable[[argparse.Namespace], int]]

_MODES = ("completion", "embedding", "reranking")


def add_seeing_commands(commands: Any, lazily: Lazily) -> None:
    """Add these commands to the parser's others."""

    def command(name: str, help: str, *, json: bool = True) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help)
        made.set_defaults(run=lazily(name, name))
        if json:
            made.add_argument("--json", action="store_true", help="print JSON")
        return made

    command("ps", "list the runners")
    command("top", "watch runners and requests live; unload, pin and cancel by keys", json=False)
    requests = command("requests", "what was asked last and what runs; end what runs")
    requests.add_argument("model", nargs="?")
    requests.add_argument("--running", action="store_true", help="those that run or wait now")
    requests.add_argument(
        "--cancel", metavar="ID", nargs="+", help="end these (their clients are told by whom)"
    )
    logs = command("logs", "what the daemon and its engines have logged")
    logs.add_argument("model", nargs="?", help="of one model: its engines, and what names it")
    logs.add_argument("-n", "--lines", type=_count, metavar="N", help="the newest so many lines")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as lines come")
    logs.add_argument("--no-engines", action="store_true", help="the daemon's own log only")
    command("df", "how much models and engines take on the disk")
    _add_fit(command("fit", "whether a model fits, also one that is not here: nothing is pulled"))
    bench = command("bench", "measure a model: prompt and generation speed, time to first token")
    bench.add_argument("model", type=model_name)
    bench.add_argument(
        "--concurrency", metavar="N,N,...", default="1,2,4,8", help="clients at a time"
    )
    bench.add_argument("--prompt-tokens", type=_count, metavar="N", default=256)
    bench.add_argument("--tokens", type=_count, metavar="N", default=64, help="of each response")
    search = command("search", "look for models on the Hugging Face hub")
    search.add_argument("words", nargs="+")
    search.add_argument("-n", "--limit", type=_count, metavar="N", default=20)


def _add_fit(fit: argparse.ArgumentParser) -> None:
    fit.add_argument("model", type=model_name)
    fit.add_argument("--context", type=_count, metavar="N", help="tokens; default: as configured")
    fit.add_argument("--parallel", type=_count, metavar="N", help="requests at a time")
    fit.add_argument("--mode", choices=_MODES, default=None)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    if len(text) > 10:  # the daemon says what else is too much
        raise argparse.ArgumentTypeError("that is too much")
    return int(text)
