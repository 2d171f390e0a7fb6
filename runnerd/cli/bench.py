"""`runnerd bench`: how quick a model is here, with one client and with several at a time.

Each client streams one completion of a prompt that nobody has asked before, so that nothing of it
is evaluated already.  Times are the client's: they have all of runnerd in them.
"""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from runnerd.cli.client import Client
from runnerd.cli.fit import say_fit
from runnerd.cli.tables import print_json, print_table
from runnerd.errors import ClientError

_MOST_CLIENTS = 256
_BAR = 30
_HEAD = ("CLIENTS", "FIRST TOKEN", "WORST", "PROMPT TOK/S", "TOK/S EACH", "TOK/S ALL", "")


@dataclass(frozen=True, slots=True)
class Response:
    """What one client saw; times in seconds since all began."""

    began: float
    first: float
    ended: float
    prompt_tokens: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Round:
    """So many clients at a time."""

    clients: int
    first_token: float
    worst_first_token: float
    prompt_tokens_per_second: float
    tokens_per_second_each: float
    tokens_per_second: float


def bench(options: argparse.Namespace) -> int:
    """Print a line for each number of clients."""
    client = Client(options.host)
    counts = _counts(options.concurrency)
    say_fit(client, options.model)
    _ask(client, options, threading.Barrier(1))  # loads it; what follows is measured
    rounds = []
    for count in counts:
        if sys.stderr.isatty():
            print(f"{count} at a time ...", end="\r", file=sys.stderr, flush=True)
        rounds.append(_round(client, options, count))
    if options.json:
        print_json([{name: getattr(each, name) for name in Round.__slots__} for each in rounds])
        return 0
    best = max(each.tokens_per_second for each in rounds) or 1.0
    print_table(_HEAD, [_row(each, best) for each in rounds], spare=("", "WORST"))
    return 0


def _round(client: Client, options: argparse.Namespace, count: int) -> Round:
    barrier = threading.Barrier(count)
    with ThreadPoolExecutor(count) as pool:
        asked = [pool.submit(_ask, client, options, barrier) for _ in range(count)]
        return summed([each.result() for each in asked])


def summed(responses: Sequence[Response]) -> Round:
    """The figures of some responses that went on at the same time."""
    began = min(each.began for each in responses)
    waits = [each.first - each.began for each in responses]
    reading = max(each.first for each in responses) - began
    lasting = max(each.ended for each in responses) - min(each.first for each in responses)
    speeds = [
        (each.tokens - 1) / (each.ended - each.first)
        for each in responses
        if each.tokens > 1 and each.ended > each.first
    ]
    return Round(
        len(responses),
        statistics.median(waits),
        max(waits),
        sum(each.prompt_tokens for each in responses) / reading if reading > 0 else 0.0,
        statistics.median(speeds) if speeds else 0.0,
        sum(each.tokens for each in responses) / lasting if lasting > 0 else 0.0,
    )


def _ask(client: Client, options: argparse.Namespace, barrier: threading.Barrier) -> Response:
    """One streamed completion, begun together with the others."""
    words = max(1, options.prompt_tokens - 8)
    prompt = f"{secrets.token_hex(4)} " + "one two three four " * (words // 4 + 1)
    document: dict[str, Any] = {
        "model": options.model, "prompt": prompt[: 4 * options.prompt_tokens + 16],
        "max_tokens": options.tokens, "ignore_eos": True, "temperature": 0, "stream": True,
        "stream_options": {"include_usage": True},
    }  # fmt: skip
    barrier.wait()
    usage: dict[str, Any] = {}
    began, first = time.perf_counter(), 0.0
    for line in client.lines("POST", "/v1/completions", document):
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line.removeprefix(b"data: "))
        if "error" in event:
            raise ClientError(str(event["error"].get("message", event["error"])))
        first = first or time.perf_counter()
        usage = event.get("usage") or usage
    ended = time.perf_counter()
    return Response(
        began,
        first or ended,
        ended,
        int(usage.get("prompt_tokens", 0)),
        int(usage.get("completion_tokens", 0)),
    )


def _row(each: Round, best: float) -> tuple[str, ...]:
    return (
        str(each.clients),
        f"{1000 * each.first_token:.0f} ms",
        f"{1000 * each.worst_first_token:.0f} ms",
        f"{each.prompt_tokens_per_second:.0f}",
        f"{each.tokens_per_second_each:.1f}",
        f"{each.tokens_per_second:.1f}",
        "#" * max(1, round(_BAR * each.tokens_per_second / best)),
    )


def _counts(text: str) -> list[int]:
    """The numbers of clients.  Raises errors.ClientError."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(
        part.isascii() and part.isdigit() and 0 < int(part[:6]) <= _MOST_CLIENTS for part in parts
    ):
        raise ClientError(
            f"--concurrency takes numbers from 1 to {_MOST_CLIENTS} with commas, such as 1,4,16"
        )
    return [int(part) for part in parts]
