"""A daemon with models of known size on one card, and the few things that are done to it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from bench.gpu.card import Card
from bench.gpu.shapes import EIGHT, ENCODER, EXPERTS, ONE, SEEING, SMALL, write_quantized
from bench.models import Shape, write_f16
from bench.projectors import write_projector
from bench.report import Report
from tests.support.daemon import DaemonProcess


@dataclass(frozen=True)
class Models:
    """The models' files by name, and their shapes."""

    files: dict[str, Path] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    projector: Path | None = None


def write_models(folder: Path, card: Card, report: Report) -> Models:
    """Write the models: of full size for a GPU, small ones for the processor."""
    models = Models(projector=folder / "mmproj.gguf")
    for name, shape, quantization in (
        ("one", ONE, "Q8_0"),
        ("eight", EIGHT, "Q4_0"),
        ("experts", EXPERTS, "Q8_0"),
        ("encoder", ENCODER, "F16"),
    ):
        if not card.is_gpu and shape not in SMALL:
            continue
        real = shape if card.is_gpu else SMALL[shape]
        path = folder / f"{name}.gguf"
        began = time.perf_counter()
        if quantization == "F16":
            write_f16(path, real)
        else:
            write_quantized(path, real, quantization)
        took, size = time.perf_counter() - began, path.stat().st_size
        models.files[name], models.shapes[name] = path, real
        report.line(f"written: {real.name} {quantization}", f"{size / 2**30:.2f} GiB, {took:.0f} s")
    assert models.projector is not None
    write_projector(models.projector, SEEING, models.shapes["one"].width)
    return models


@dataclass(frozen=True)
class Rig:
    """A running daemon whose engine is `server`."""

    daemon: DaemonProcess
    card: Card

    @property
    def engine(self) -> psutil.Process:
        """The one engine that runs."""
        [engine] = self.daemon.engines()
        return engine

    def held(self) -> int:
        """Return the bytes that all engines hold of the card."""
        return sum(self.card.held(engine.pid) for engine in self.daemon.engines())

    def ask(self, model: str, *, tokens: int = 8, prompt_tokens: int = 8) -> httpx.Response:
        """Ask for a completion."""
        prompt = [10 + number % 200 for number in range(prompt_tokens)]
        body = {"model": model, "prompt": prompt, "max_tokens": tokens, "ignore_eos": True}
        return self.daemon.http.post("/v1/completions", json=body, timeout=300)

    def configure(self, model: str, **fields: object) -> None:
        """Configure a model; names with a dash are written with an underscore."""
        body = {name.replace("_", "-"): value for name, value in fields.items()}
        response = self.daemon.http.post("/engines/_configure", json={"model": model, **body})
        assert response.is_success, response.text

    def unload(self) -> None:
        """Unload everything, and wait until the engines are gone."""
        self.daemon.http.post("/engines/unload", json={"all": True})
        deadline = time.monotonic() + 60
        while self.daemon.engines() and time.monotonic() < deadline:
            time.sleep(0.01)

    def log_of(self, word: str) -> list[str]:
        """Return the lines of the engines' logs that hold `word`."""
        logs = sorted((self.daemon.state_dir / "logs").glob("*.log"), key=os.path.getmtime)
        return [
            line.strip()
            for log in logs
            for line in log.read_text(errors="replace").splitlines()
            if word in line
        ]


@contextmanager
def rig(
    server: Path, card: Card, models: Models, names: tuple[str, ...], **settings: object
) -> Iterator[Rig]:
    """Run a daemon on `server` with some of the models."""
    backend = {"path": str(server), "memory_reserve": 0}
    environment: Mapping[str, str] = {
        "RUNNERD_BACKENDS": json.dumps({"llama.cpp": backend}),
        **{f"RUNNERD_{name.upper()}": str(value) for name, value in settings.items()},
    }
    folder = next(iter(models.files.values())).parent / "daemon"
    daemon = DaemonProcess(folder, environment)
    try:
        daemon.start()
        for name in names:
            daemon.import_model(models.files[name], name)
        yield Rig(daemon, card)
    finally:
        daemon.close()
