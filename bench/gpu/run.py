"""The section `gpu` of the benchmarks."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from pathlib import Path

from bench.gpu.accounts import accounts
from bench.gpu.behaviour import ON_A_CARD, ON_ANY_HOST
from bench.gpu.card import Card
from bench.gpu.engine import build
from bench.gpu.rig import write_models
from bench.report import Report
from runnerd.backends.commands import run_command
from runnerd.backends.environment import child_environment
from runnerd.backends.llamacpp.devices import listed_devices
from runnerd.backends.llamacpp.server import ServerFinder
from runnerd.backends.llamacpp.settings import parse_settings
from runnerd.resources.gpus import Gpus


def gpu(report: Report, sources: Path | None) -> None:
    """Build, write models, measure, and print how long each took."""
    began = time.perf_counter()
    card = Card.first()
    report.section("GPU")
    _host(report, card)
    with tempfile.TemporaryDirectory(prefix="rg") as name:
        folder = Path(name)
        server = _server(report, sources, folder)
        _devices(report, server)
        models = write_models(folder, card, report)
        accounts(report, server, card, models)
        for section in ON_ANY_HOST + (ON_A_CARD if card.is_gpu else ()):
            started = time.perf_counter()
            section(report, server, card, models)
            report.line(f"({section.__name__})", f"{time.perf_counter() - started:.0f} s")
    if not card.is_gpu:
        left = ", ".join(section.__name__ for section in ON_A_CARD)
        report.line(f"not run, they need a GPU: {left}", "")
    report.line("all of it", f"{time.perf_counter() - began:.0f} s", "600 s")


def _host(report: Report, card: Card) -> None:
    if not card.is_gpu:
        report.line("no GPU: small models on the processor stand in for it", "")
    for device in card.host.devices():
        free, total = device.free_bytes / 2**30, device.total_bytes / 2**30
        report.line(f"{device.id}: {device.name}", f"{free:.1f} of {total:.1f} GiB free")


def _server(report: Report, sources: Path | None, folder: Path) -> Path:
    """Return the engine: built from `sources`, else the one that is installed."""
    if sources is None:
        found = asyncio.run(ServerFinder(parse_settings({}), folder).find())
        if found is None:
            raise SystemExit("no llama-server is installed: name sources to build (--sources)")
        return found.path
    began = time.perf_counter()
    cuda = shutil.which("nvcc") or Path("/usr/local/cuda/bin/nvcc").exists()
    server = build(sources, folder, Gpus().architectures()[:1] if cuda else [])
    report.line("engine built in", f"{time.perf_counter() - began:.0f} s", "300 s")
    return server


def _devices(report: Report, server: Path) -> None:
    """Print llama.cpp's devices beside NVML's: number by number they are to be the same."""
    asked = run_command(
        [str(server), "--list-devices"], timeout=60, environment=child_environment()
    )
    output = asyncio.run(asked).output
    for number, name in enumerate(listed_devices(output)):
        line = next(line.strip() for line in output.splitlines() if line.strip().startswith(name))
        report.line(f"llama.cpp's device {number}: {line[:60]}", "")
