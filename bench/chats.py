"""Short chats with a real engine: where its server, the relay and their scheduling show most.

A tiny model computes a token in a tenth of a millisecond, so that everything else is what is seen.
The engine started by hand, its router and llama-swap (where present) answer in the same rounds.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack

from bench.load import request
from bench.peers import engine_router, llama_swap
from bench.relay import run_loop
from bench.report import Report
from bench.subjects import Subject, by_hand, stage

_ROUNDS = 7
_TOKENS = 8


def chats(report: Report, seconds: float) -> None:
    """Print chats per second against the bare engine, and the CPU time of the relay for each."""
    report.section(f"Chats of {_TOKENS} tokens, real engine, tiny model, default settings")
    with ExitStack() as stack:
        running = stack.enter_context(stage(parallel=None))
        [engine] = running.daemon.engines()
        bare, _ = stack.enter_context(by_hand(engine))
        peers = [
            stack.enter_context(engine_router(engine)),
            stack.enter_context(llama_swap(engine)),
        ]
        subjects = [bare, running.relay, *(peer for peer in peers if peer is not None)]
        for streamed in (True, False):
            for clients in (1, 4, 32):
                _rates(report, subjects, seconds, streamed=streamed, clients=clients)
        for tokens in (1, 16):
            _cost(report, running.relay, tokens, seconds)


def _chat(tokens: int, *, streamed: bool) -> bytes:
    document: dict[str, object] = {"model": "bench", "stream": streamed, "max_tokens": tokens}
    document |= {"ignore_eos": True, "messages": [{"role": "user", "content": "hi"}]}
    return request("/v1/chat/completions", document)


def _rates(
    report: Report, subjects: list[Subject], seconds: float, *, streamed: bool, clients: int
) -> None:
    """Print the median rate of each subject, and of the ratios of each round to the bare engine."""
    message = _chat(_TOKENS, streamed=streamed)
    rates: dict[str, list[float]] = {subject.name: [] for subject in subjects}
    for _ in range(_ROUNDS):
        for subject in subjects:
            outcome, _ = run_loop(subject, message, clients=clients, seconds=seconds / 4)
            rates[subject.name].append(outcome.answers / outcome.seconds)
    bare = rates[subjects[0].name]
    what = f"chats{', streamed' if streamed else ''}, {clients} clients"
    for name, found in rates.items():
        ratio = statistics.median(one / other for one, other in zip(found, bare, strict=True))
        bar = ">= 0.9" if name == "runnerd" else ""
        figures = f"{statistics.median(found):,.0f} /s, {ratio:.2f} of bare"
        report.line(f"{name}: {what}", figures, bar)


def _cost(report: Report, relay: Subject, tokens: int, seconds: float) -> None:
    outcome, cpu = run_loop(relay, _chat(tokens, streamed=False), clients=8, seconds=seconds)
    each = cpu / max(1, outcome.answers) * 1e6
    report.line(f"runnerd: CPU per chat of {tokens} tokens, 8 clients", f"{each:.0f} us")
