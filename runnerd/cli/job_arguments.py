"""What can be typed after `runnerd jobs`, `submit`, `watch` and `queues`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runnerd.cli.command_parser import finite
from runnerd.units import parse_span

Lazily = Callable[[str, str], Callable[[argparse.Namespace], int]]

_ID = "its id, or the end of one"
_STATES = ("queued", "running", "completed", "failed", "cancelled", "expired")


def add_job_commands(commands: Any, lazily: Lazily) -> None:
    """Add these commands to the parser's others."""

    def command(commands: Any, name: str, help: str, function: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help)
        # Suppressed, so that `jobs --json list` is heeded, too.
        made.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print JSON"
        )
        made.set_defaults(run=lazily("jobs", function))
        return made

    jobs = command(commands, "jobs", "work that waits: list, show, cancel, retry, rm", "list_all")
    jobs.set_defaults(state=None, model=None, limit=None)
    group = jobs.add_subparsers(title="commands", metavar="COMMAND")
    every = command(group, "list", "one's own jobs, and for owners all (default)", "list_all")
    every.add_argument("--state", choices=_STATES)
    every.add_argument("--model", metavar="NAME")
    every.add_argument("--limit", type=int, metavar="N", help="how many (default: 100)")
    show = command(group, "show", "everything about a job", "show")
    show.add_argument("id", help=_ID)
    for name, help in (
        ("cancel", "end jobs that have not ended"),
        ("retry", "queue jobs again that have failed, were cancelled or have expired"),
        ("rm", "forget jobs and what came of them"),
    ):
        command(group, name, help, name).add_argument("id", nargs="+", help=_ID)

    submit = command(commands, "submit", "have a model answer prompts when there is time", "submit")
    submit.add_argument("model")
    submit.add_argument("prompt", nargs="*", help="default: standard input")
    submit.add_argument("--watch", action="store_true", help="print the output as it comes")
    submit.add_argument("--id", help="submitting the same id again is the same job")
    submit.add_argument("--priority", type=int, metavar="N", help="a head start in the queue")
    submit.add_argument(
        "--expires-in", type=_span, metavar="TIME", help="it ends if it has not ended by then: 2h"
    )
    submit.add_argument(
        "--runtime", type=_span, metavar="TIME", help="how long it may run, each time"
    )
    submit.add_argument("--copies", type=int, metavar="N", help="so many jobs of the same")
    submit.add_argument("--max-tokens", type=int, metavar="N")
    submit.add_argument("--temperature", type=finite)
    submit.add_argument("--seed", type=int, metavar="N")
    watch = command(commands, "watch", "print the output of a job as it comes", "watch")
    watch.add_argument("id", help=_ID)
    help = "have the requests of a file answered, one on each line (OpenAI's batches)"
    batch = command(commands, "batch", help, "batch")
    batch.set_defaults(run=lazily("batch", "batch"))
    batch.add_argument("file", type=Path, metavar="FILE.jsonl")
    batch.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: standard output")
    batch.add_argument("--force", action="store_true", help="overwrite a file that is there")
    batch.add_argument("--endpoint", metavar="PATH", help="default: the url of the first request")
    command(commands, "queues", "how many jobs there are of each model, by state", "queues")


def _span(text: str) -> float:
    try:
        return parse_span(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
