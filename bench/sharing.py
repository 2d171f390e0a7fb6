"""Three models where there is room for one, and clients that ask without a pause.

How evenly they share the time, and how much is answered in all: by the daemon, and in the same run
by llama-server's own router and by llama-swap (where it is on PATH), with the same engine and
models.  The models are alike, so that answers tell the time that each has had.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil

from bench.peers import running_router, running_swap
from bench.report import Report
from bench.subjects import Subject
from runnerd.models import tiny
from tests.support.daemon import running

_MODELS = ("a", "b", "c")
_CLIENTS = 2  # of each model
_TOKENS = 32
_CONTEXT = 512
_ROUNDS = 2
_PAUSE = 0.1  # seconds after a failed request


def sharing(report: Report, seconds: float) -> None:
    """Print shares and totals over ten seconds (a quick run: over four)."""
    report.section(
        f"{len(_MODELS)} models, room for one, {_CLIENTS} clients each, {_TOKENS} tokens"
    )
    length = 10.0 if seconds > 1 else 4.0
    with tempfile.TemporaryDirectory(prefix="rs") as name, ExitStack() as stack:
        folder = Path(name)
        models = folder / "models"
        models.mkdir()
        for number, model in enumerate(_MODELS):
            path = models / f"{model}.gguf"
            tiny.write_completion_model(path, name=model, seed=number, context_length=_CONTEXT)
        own, engine = stack.enter_context(_daemon(folder, models))
        peers = [
            stack.enter_context(running_router(engine, models, most=1, context=_CONTEXT)),
            stack.enter_context(running_swap(engine, models)),
        ]
        subjects = [own, *(peer for peer in peers if peer is not None)]
        answers: dict[str, list[Counter[str]]] = {subject.name: [] for subject in subjects}
        failures: Counter[str] = Counter()
        for _ in range(_ROUNDS):
            for subject in subjects:
                answered, failed = _answered(subject, length)
                answers[subject.name].append(answered)
                failures[subject.name] += failed
        best = max(
            (_total(found) for name, found in answers.items() if name != own.name), default=0
        )
        for name, found in answers.items():
            ratios = ", ".join(_ratio(each) for each in found)
            report.line(
                f"{name}: shares, most to least, over {length:g} s",
                ratios,
                "<= 1.5" if name == own.name else "",
            )
            total = _total(found) / (_ROUNDS * length)
            bar = f">= {best / (_ROUNDS * length):.1f}" if name == own.name and best else ""
            report.line(f"{name}: answers per second, all models", f"{total:.1f}", bar)
            bar = "0" if name == own.name else ""
            report.line(f"{name}: requests that failed", str(failures[name]), bar)


@contextmanager
def _daemon(folder: Path, models: Path) -> Iterator[tuple[Subject, psutil.Process]]:
    """Run the daemon with room for one model; yield it and an engine of its own."""
    backends = json.dumps({"llama.cpp": {"threads": 1}})
    env = {"RUNNERD_MAX_RUNNERS": "1", "RUNNERD_BACKENDS": backends}
    with running(folder / "daemon", env=env) as daemon:
        for model in _MODELS:
            daemon.import_model(models / f"{model}.gguf", model)
        body = {"model": _MODELS[0], "prompt": "x", "max_tokens": 1}
        daemon.http.post("/v1/completions", json=body).raise_for_status()
        assert daemon.process is not None
        subject = Subject("runnerd", daemon.socket, psutil.Process(daemon.process.pid))
        yield subject, daemon.engines()[0]


def _answered(subject: Subject, seconds: float) -> tuple[Counter[str], int]:
    """How many responses the clients of each model got, and how many requests failed.

    llama-server's router closes connections without a word now and then when it swaps models.
    """
    answers: Counter[str] = Counter()
    failures: list[Exception] = []
    ready = threading.Barrier(_CLIENTS * len(_MODELS))

    def ask(model: str) -> None:
        body = {"model": model, "prompt": "x", "max_tokens": _TOKENS, "ignore_eos": True}
        with _client(subject) as client:
            ready.wait()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                try:
                    client.post("/v1/completions", json=body).raise_for_status()
                except httpx.HTTPError as error:
                    failures.append(error)
                    time.sleep(_PAUSE)
                else:
                    answers[model] += 1

    threads = [
        threading.Thread(target=ask, args=(model,)) for model in _MODELS for _ in range(_CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not answers:
        raise RuntimeError(f"{subject.name} answered nothing") from failures[0]
    return answers, len(failures)


def _client(subject: Subject) -> httpx.Client:
    if isinstance(subject.socket, int):
        return httpx.Client(base_url=f"http://127.0.0.1:{subject.socket}", timeout=120)
    transport = httpx.HTTPTransport(uds=str(subject.socket))
    return httpx.Client(base_url="http://runnerd", transport=transport, timeout=120)


def _ratio(answers: Counter[str]) -> str:
    least = min(answers[model] for model in _MODELS)
    return f"{max(answers.values()) / least:.2f}" if least else "one had none"


def _total(found: list[Counter[str]]) -> int:
    return sum(answers.total() for answers in found)
