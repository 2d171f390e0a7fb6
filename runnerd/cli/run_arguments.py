"""What can be typed after `runnerd run`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from runnerd.cli.command_parser import finite, model_name

Lazily = Callable[[str, str], Callable[[argparse.Namespace], int]]

_THINK = ("true", "false", "low", "medium", "high")
_HELP = "ask a model; without a prompt, talk to it"
_MORE = """\
@FILE in a prompt puts a text file into it, or sends an
image or a sound with it; images and sounds go by their
path, too. What is piped in stands before the prompt:

  runnerd run smollm2 "Summarise this." < report.txt
  runnerd run gemma3 "What is in this?" ./photo.png
"""


def add_run_command(commands: Any, lazily: Lazily) -> None:
    """Add the command to the parser's others."""
    run = commands.add_parser(
        "run",
        help=_HELP,
        description=_HELP,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.set_defaults(run=lazily("chat.command", "run"))
    run.add_argument("model", type=model_name, help="its name (`runnerd ls`)")
    run.add_argument("prompt", nargs="*", help="what to ask; without it a conversation begins")
    run.add_argument("--system", metavar="TEXT", help="who the model is")
    run.add_argument(
        "--session", metavar="NAME", help="go on with a session of this name, or begin it"
    )
    run.add_argument("--temperature", type=finite, help="how daring: 0 is always the likeliest")
    run.add_argument("--max-tokens", type=int, metavar="N", help="length of a response at most")
    run.add_argument("--seed", type=int, metavar="N", help="the same gives the same response")
    run.add_argument(
        "--format",
        metavar="json|SCHEMA",
        help="the form of the response: JSON, or a JSON schema (text, or a file with it)",
    )
    run.add_argument(
        "--think",
        choices=_THINK,
        metavar="HOW",
        help="think before answering: --think, or --think=low, medium, high, false",
    )
    run.add_argument(
        "--keep-alive", metavar="TIME", help="how long it stays loaded unused: 5m, 0, -1 for ever"
    )
    run.add_argument("--verbose", action="store_true", help="print how long responses take")
    run.add_argument("--pull", action="store_true", help="pull a model that is not here, unasked")


def separated_think(arguments: list[str]) -> list[str]:
    """The arguments with a `--think` that has no value: what stands behind it is the prompt."""
    if "run" not in arguments:
        return arguments
    return ["--think=true" if text == "--think" else text for text in arguments]
