"""What a model was said to need on the card, against what its engine holds there."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.gpu.card import Card
from bench.gpu.rig import Models, Rig, rig
from bench.gpu.shapes import SEEING
from bench.holding import model_files, served
from bench.inputs import image
from bench.report import Report
from runnerd.backends.configuration import BackendMode
from runnerd.backends.interface import RequiredMemory
from runnerd.backends.llamacpp.memory import MemoryEstimator
from runnerd.backends.llamacpp.server import ServerFinder
from runnerd.backends.llamacpp.settings import parse_settings

_MIB = 2**20
_LONG = 1200  # tokens of a prompt: more than two physical batches


@dataclass(frozen=True, slots=True)
class _Case:
    model: str
    context: int
    slots: int
    mode: BackendMode = BackendMode.COMPLETION
    seeing: bool = False


_CASES = (
    *(_Case(model, context, slots) for model in ("one", "eight", "experts")
      for context, slots in ((8192, 1), (8192, 4), (32768, 1), (32768, 4))),
    _Case("encoder", 512, 1, BackendMode.EMBEDDING),
    _Case("encoder", 512, 4, BackendMode.EMBEDDING),
    _Case("one", 8192, 1, seeing=True),
    _Case("one", 8192, 4, seeing=True),
)  # fmt: skip
_SMALL_CASES = (_Case("one", 8192, 1), _Case("one", 8192, 4), _Case("encoder", 512, 1,
                BackendMode.EMBEDDING))  # fmt: skip


def accounts(report: Report, server: Path, card: Card, models: Models) -> None:
    """Print, for each case, what was told, what is held and the error."""
    report.section(f"Memory accounts on {card.id} ({card.now().name})")
    for case in _CASES if card.is_gpu else _SMALL_CASES:
        with rig(server, card, models, ()) as running:
            _import(running, models, case)
            told = asyncio.run(_told(server, models, case))
            seen = _seen(running, case)
        amount = dict(told.gpu_bytes).get(card.id, 0) if card.is_gpu else told.ram_bytes
        name = models.shapes[case.model].name + (f" + {SEEING.name}" if case.seeing else "")
        figures = f"{amount / _MIB:.0f} / {seen / _MIB:.0f} MiB, {amount / seen - 1:+.1%}"
        report.line(f"{name}, {case.context} x {case.slots}: told / held", figures, "within 5 %")


def _import(running: Rig, models: Models, case: _Case) -> None:
    body = {"path": str(models.files[case.model]), "tag": case.model}
    if case.seeing:
        body["mmproj"] = str(models.projector)
    response = running.daemon.http.post("/models/import", json=body, timeout=300)
    assert '"success"' in response.text, response.text
    running.configure(
        case.model, mode=case.mode.value, context_size=case.context, parallel=case.slots
    )


async def _told(server: Path, models: Models, case: _Case) -> RequiredMemory:
    settings = parse_settings({"path": str(server), "memory_reserve": 0})
    files = model_files(models.files[case.model], models.projector if case.seeing else None)
    estimator = MemoryEstimator(ServerFinder(settings, models.files[case.model].parent), settings)
    return await estimator.required([files], served(case.context, case.slots), case.mode)


def _seen(running: Rig, case: _Case) -> int:
    """Return what the engine holds after all its slots were in use."""
    lengths = [min(_LONG, case.context // 2), *[8] * (case.slots - 1)]
    with ThreadPoolExecutor(case.slots) as pool:
        if case.mode is BackendMode.EMBEDDING:
            ask = running.daemon.http.post
            texts = [{"model": case.model, "input": "token1 " * length} for length in lengths]
            answers = list(pool.map(lambda text: ask("/v1/embeddings", json=text), texts))
        else:
            answers = list(pool.map(lambda n: running.ask(case.model, prompt_tokens=n), lengths))
        assert all(response.is_success for response in answers), [each.text for each in answers]
        if case.seeing:
            assert all(pool.map(lambda n: _show(running, case.model, n), range(case.slots)))
    return running.held()


def _show(running: Rig, model: str, number: int) -> bool:
    content = [image(*SEEING.largest, number), {"type": "text", "text": "What is it?"}]
    messages = [{"role": "user", "content": content}]
    body = {"model": model, "messages": messages, "max_tokens": 4}
    return running.daemon.http.post("/v1/chat/completions", json=body, timeout=300).is_success
