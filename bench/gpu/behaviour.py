"""What the daemon does on a card: speed, swaps, a killed engine, placement, eviction, no memory."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.gpu.card import Card
from bench.gpu.rig import Models, Rig, rig
from bench.load import request
from bench.relay import run_loop
from bench.report import Report
from bench.subjects import Subject, by_hand

_MIB = 2**20
_SWAPS = 10
_TOKENS = 64


def tokens(report: Report, server: Path, card: Card, models: Models) -> None:
    """Tokens per second through the daemon, and from the same engine started by hand."""
    report.section("Tokens per second")
    for model in ("one", "eight") if card.is_gpu else ("one",):
        with rig(server, card, models, (model,)) as running:
            running.ask(model)
            _prefill(report, running, model)
            rates = _rates(report, running, model)
            for clients, (bare, ours) in rates.items():
                report.line(f"{model}: of the bare engine, {clients} streams", f"{ours / bare:.3f}")


def _prefill(report: Report, running: Rig, model: str) -> None:
    timings = running.ask(model, tokens=1, prompt_tokens=2048).json().get("timings", {})
    rate = timings.get("prompt_per_second", 0.0)
    report.line(f"{model}: a prompt of {timings.get('prompt_n', 0)} tokens", f"{rate:,.0f} /s")


def _rates(report: Report, running: Rig, model: str) -> dict[int, tuple[float, float]]:
    """Both engines hold their weights at once: they are asked in turns."""
    document = {"model": model, "stream": True, "max_tokens": _TOKENS, "ignore_eos": True}
    message = request("/v1/completions", {**document, "prompt": "x"})
    ours = Subject("runnerd", running.daemon.socket)
    rates = {}
    with by_hand(running.engine) as (bare, _):
        for clients in (1, 8, 32):
            sums = {subject.name: [0, 0.0] for subject in (bare, ours)}
            for subject in [bare, ours] * 2:
                outcome, _ = run_loop(subject, message, clients=clients, seconds=3)
                sums[subject.name][0] += outcome.events
                sums[subject.name][1] += outcome.seconds
            found = [events / seconds for events, seconds in sums.values()]
            rates[clients] = (found[0], found[1])
            figures = f"{found[0]:,.0f} / {found[1]:,.0f} /s"
            report.line(f"{model}: bare / runnerd, {clients} streams", figures)
    return rates


def swaps(report: Report, server: Path, card: Card, models: Models) -> None:
    """Seconds from a request to its response while another model has to go first."""
    report.section("Swaps (room for one of two)")
    names = ("one", "experts")
    with rig(server, card, models, names, max_runners=1) as running:
        times: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(_SWAPS):
            for name in names:
                began = time.perf_counter()
                assert running.ask(name, tokens=1).is_success
                times[name].append(time.perf_counter() - began)
        for name, took in times.items():
            report.line(f"swap to {name}, p50", f"{statistics.median(took) * 1e3:.0f} ms")
        with by_hand(running.engine) as (_, seconds):
            report.line(f"{names[-1]}: bare engine, exec to ready", f"{seconds * 1e3:.0f} ms")


def killed(report: Report, server: Path, card: Card, models: Models) -> None:
    """An engine is killed in the middle of a stream: the client is told, the memory comes back."""
    report.section("An engine killed in mid-stream")
    with rig(server, card, models, ("one",)) as running:
        before = card.now().free_bytes
        running.ask("one")
        pid, held = running.engine.pid, running.held()
        body = {"model": "one", "prompt": "x", "max_tokens": 4000, "stream": True,
                "ignore_eos": True}  # fmt: skip
        with running.daemon.http.stream("POST", "/v1/completions", json=body) as stream:
            lines = stream.iter_lines()
            next(lines)
            running.engine.kill()
            rest = [line for line in lines if line]
        report.line("the stream ended with", rest[-1][:60] if rest else "nothing")
        seconds = card.seconds_until_free(before - held // 10) if card.is_gpu else 0.0
        assert pid not in [engine.pid for engine in running.daemon.engines()]
        if card.is_gpu:
            report.line(f"{held / _MIB:.0f} MiB free again after", f"{seconds * 1e3:.0f} ms")
        report.line("the next request", f"{running.ask('one').status_code}", "200")


def placement(report: Report, server: Path, card: Card, models: Models) -> None:
    """A model of which only a part fits on the card, and one that fits not at all."""
    report.section("A card that is partly full")
    whole = models.files["eight"].stat().st_size
    for share in (0.6, 0.05):
        with (
            card.leaving(int(whole * share)),
            rig(server, card, models, ("eight",)) as running,
        ):
            began = time.perf_counter()
            status = running.ask("eight").status_code
            took = time.perf_counter() - began
            report.line(f"free for {share:.0%} of the weights: status", f"{status}, {took:.1f} s")
            held = running.held() if status == 200 else 0
            report.line("  held on the card", f"{held / _MIB:.0f} MiB", "as it fits")
            for line in running.log_of("offloaded")[-1:]:
                report.line(f"  {line[-70:]}", "")


def eviction(report: Report, server: Path, card: Card, models: Models) -> None:
    """Two models, room for one: the idle one goes by what it was measured to hold."""
    report.section("Eviction by measured memory")
    with rig(server, card, models, ("one", "experts")) as running:
        running.ask("one")
        first = running.held()
        running.unload()
        running.ask("experts")
        second = running.held()
        running.unload()
        with card.leaving(int((first + second) * 0.8)):
            statuses = [running.ask(name).status_code for name in ("one", "experts", "one")]
            report.line("statuses of one, experts, one", f"{statuses}", "all 200")
            report.line("engines at the end", f"{len(running.daemon.engines())}", "1")
        with ThreadPoolExecutor(2) as pool:
            both = list(pool.map(lambda name: running.ask(name).status_code, ("one", "experts")))
        report.line("with room for both: statuses", f"{both}")
        report.line("engines at the end", f"{len(running.daemon.engines())}", "2")


def out_of_memory(report: Report, server: Path, card: Card, models: Models) -> None:
    """All layers are to lie on a card that has no room for them; then it has."""
    report.section("Out of memory, and back")
    with rig(server, card, models, ("eight",)) as running:
        running.configure("eight", placement={"devices": [0], "layers": 999})
        with card.leaving(models.files["eight"].stat().st_size // 2):
            response = running.ask("eight")
            report.line("without room", f"{response.status_code}", "507")
            report.line("  " + response.text[:110], "")
            report.line("  held by engines", f"{running.held() / _MIB:.0f} MiB", "0")
        running.daemon.http.post("/engines/unload", json={"all": True})  # try again at once
        report.line("with room", f"{running.ask('eight').status_code}", "200")


ON_ANY_HOST = (tokens, swaps, killed)
ON_A_CARD = (placement, eviction, out_of_memory)
