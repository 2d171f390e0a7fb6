"""What can be typed after `runnerd worker`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from runnerd.units import parse_duration

_Add = Callable[[str, str, str], argparse.ArgumentParser]


def add_fleet_commands(add: _Add) -> None:
    """Add the commands of a site of many hosts."""
    worker = add(
        "worker", "take work from RabbitMQ for this host's daemon (ProtoLLM's LLM-core)", "worker"
    )
    worker.add_argument(
        "--queue",
        type=_queue,
        action="append",
        default=[],
        metavar="NAME[=MODEL]",
        help="take tasks from this queue, for this model; repeatable; default: QUEUE_NAME",
    )
    worker.add_argument("--model", help="the model of the queue that QUEUE_NAME names")
    worker.add_argument(
        "--pull", action="store_true", help="fetch models that --queue names and that are not here"
    )
    worker.add_argument(
        "--jobs",
        action="store_true",
        help="work on the fleet's jobs, too (`jobs.fleet` of daemons)",
    )
    worker.add_argument("--once", action="store_true", help="end after one task")
    worker.add_argument(
        "--keep-free", type=int, default=1, metavar="N", help="slots of a model to leave to people"
    )
    worker.add_argument(
        "--most", type=int, default=64, metavar="N", help="tasks of one queue at a time, at most"
    )
    worker.add_argument(
        "--quantum",
        type=_seconds,
        default=60.0,
        metavar="TIME",
        help="how long a queue waits before its model may take the place of another (60s)",
    )
    worker.add_argument(
        "--drain-timeout",
        type=_seconds,
        default=30.0,
        metavar="TIME",
        help="how long what is under way may take after SIGTERM (30s)",
    )
    worker.add_argument(
        "--keep-results",
        type=_seconds,
        default=7 * 86400.0,
        metavar="TIME",
        help="how long results stay in Redis (168h)",
    )


def _queue(text: str) -> tuple[str, str | None]:
    name, _, model = text.partition("=")
    if not name or len(name.encode()) > 255:
        raise argparse.ArgumentTypeError("a queue has a name of 1 to 255 bytes")
    return name, model or None


def _seconds(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if seconds < 0:
        raise argparse.ArgumentTypeError("it has to end some time")
    return seconds
