"""runnerd.backends.llamacpp.trial: models, identities, verdicts, and engines that do not answer."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from runnerd.backends.environment import child_environment
from runnerd.backends.llamacpp.isolation import Isolation
from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.backends.llamacpp.trial import models
from runnerd.backends.llamacpp.trial.identity import engine_identity, parse_cpuinfo
from runnerd.backends.llamacpp.trial.running import Subject, try_engine
from runnerd.backends.llamacpp.trial.verdicts import Verdict, Verdicts
from runnerd.models import gguf
from tests.support.builds import real_server
from tests.support.engines import fake_engine

COVERS = ("runnerd.backends.llamacpp.trial.running",)

CPUINFO = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: A Xeon
microcode\t: 0x1
cpu MHz\t\t: 2000.1
flags\t\t: fpu amx_tile avx2

processor\t: 1
flags\t\t: other
"""


def subject(server: Path, **more: object) -> Subject:
    isolation = Isolation(LlamaCppSettings(), Path("/nonexistent"))
    return Subject(server, frozenset(), child_environment(), isolation, **more)  # type: ignore[arg-type]


def script(folder: Path, body: str) -> Path:
    path = folder / "llama-server"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


async def test_the_real_engine_works() -> None:
    """It loads every kind and answers; the folder of the trial is gone."""
    verdict = await try_engine(subject(real_server()))
    assert verdict == Verdict("works")


@pytest.mark.parametrize("signal", ["ILL", "SEGV", "BUS", "FPE"])
async def test_signals_of_a_wrong_build(tmp_path: Path, signal: str) -> None:
    """These say that the processor does not run the code."""
    verdict = await try_engine(subject(script(tmp_path, f"kill -{signal} $$")))
    assert (verdict.state, verdict.signal) == ("dies", f"SIG{signal}")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("echo 'error: no such option'; exit 1", "no such option"),
        ("kill -KILL $$", "SIGKILL"),
        ("kill -ABRT $$", "SIGABRT"),
        ("echo 'CUDA error: out of memory'; kill -ABRT $$", "out of memory"),
    ],
)
async def test_other_ends_are_no_verdict(tmp_path: Path, body: str, reason: str) -> None:
    """They may pass, so nothing is kept of them."""
    verdict = await try_engine(subject(script(tmp_path, body)))
    assert verdict.state == "fails"
    assert reason in verdict.reason
    verdicts = Verdicts([tmp_path / "trials.json"])
    verdicts.put("x", verdict)
    assert verdicts.get("x") is None


async def test_an_engine_that_answers_nonsense(tmp_path: Path) -> None:
    """Being ready is not enough."""
    verdict = await try_engine(subject(fake_engine(tmp_path)))
    assert verdict.state == "fails"
    assert "gives no sound answer" in verdict.reason


async def test_a_cancelled_trial_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_task_left: None
) -> None:
    """Neither the engine nor its folder."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    engine = fake_engine(tmp_path, "never-ready")
    task = asyncio.get_running_loop().create_task(try_engine(subject(engine)))
    async with asyncio.timeout(60):
        while not list(tmp_path.glob("rd-trial-*/trial.sock")):
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not list(tmp_path.glob("rd-trial-*"))


def test_models_of_every_kind(tmp_path: Path) -> None:
    """Our own reader reads them, and the decoder has each format that it is to have."""
    for write in (models.write_decoder, models.write_experts, models.write_encoder):
        write(tmp_path / "m.gguf")
        assert gguf.read_header(tmp_path / "m.gguf").metadata
    numbers = {kind.number for kind in models.LAYERS}
    assert {1, 8, 2, 12} <= numbers  # F16, Q8_0, Q4_0, Q4_K
    write = models.write_decoder
    write(tmp_path / "again.gguf")
    models.write_decoder(tmp_path / "m.gguf")
    assert (tmp_path / "again.gguf").read_bytes() == (tmp_path / "m.gguf").read_bytes()


# identities


def test_a_processor_is_known_by_model_flags_kernel_and_driver() -> None:
    """And by nothing that changes while it runs."""
    one = parse_cpuinfo(CPUINFO, "x86_64", "6.1")
    assert one.flags == {"fpu", "amx_tile", "avx2"}
    assert one.model == "GenuineIntel; A Xeon"
    same = parse_cpuinfo(CPUINFO.replace("2000.1", "3000"), "x86_64", "6.1")
    assert same.identity == one.identity
    others = [
        parse_cpuinfo(CPUINFO, "x86_64", "6.2"),
        parse_cpuinfo(CPUINFO.replace("amx_tile ", ""), "x86_64", "6.1"),
        parse_cpuinfo(CPUINFO.replace("A Xeon", "B"), "x86_64", "6.1"),
        parse_cpuinfo(CPUINFO, "x86_64", "6.1", "570.1"),
        parse_cpuinfo("", "x86_64", "6.1"),
    ]
    assert len({one.identity, *(other.identity for other in others)}) == 6


def test_an_engine_is_known_by_its_files(tmp_path: Path) -> None:
    """The server and its libraries, wherever the folder lies."""
    for name in ("bin/llama-server", "lib/libggml-cpu.so", "lib/libother.so"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    server = tmp_path / "bin" / "llama-server"
    first = engine_identity(server)
    os.utime(tmp_path / "lib/libother.so", ns=(0, 1))
    assert engine_identity(server) == first
    os.utime(tmp_path / "lib/libggml-cpu.so", ns=(0, 1))
    assert engine_identity(server) != first
    (tmp_path / "link").symlink_to(server)
    assert engine_identity(tmp_path / "link") == engine_identity(server)
    with pytest.raises(FileNotFoundError):
        engine_identity(tmp_path / "none")


# verdicts


def test_verdicts_are_read_from_all_and_written_to_the_first(tmp_path: Path) -> None:
    """A folder that cannot be written costs nothing but the memory of it."""
    first, second = tmp_path / "a" / "t.json", tmp_path / "b" / "t.json"
    Verdicts([second]).put("x", Verdict("works", flags=("--no-repack",)))
    both = Verdicts([first, second])
    assert both.get("x") == Verdict("works", flags=("--no-repack",))
    both.put("y", Verdict("dies", "SIGILL with a decoder", "SIGILL"))
    assert Verdicts([first]).get("y") == both.get("y")
    assert Verdicts([second]).get("y") is None
    Verdicts([Path("/proc/no/t.json")]).put("z", Verdict("works"))
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["t.json"]


def test_a_file_cannot_put_anything_on_a_command_line(tmp_path: Path) -> None:
    """Only flags that a trial may find are taken from it."""
    file = tmp_path / "t.json"
    for flags in ('["--model", "/etc/shadow"]', '"--no-repack"', "[1]", "null"):
        file.write_text(
            f'{{"x": {{"state": "works", "reason": "", "signal": "", "flags": {flags}}}}}'
        )
        assert Verdicts([file]).get("x") is None


def test_old_verdicts_are_forgotten(tmp_path: Path) -> None:
    """The file stays small."""
    verdicts = Verdicts([tmp_path / "t.json"])
    for number in range(80):
        verdicts.put(str(number), Verdict("works"))
    assert verdicts.get("0") is None
    assert verdicts.get("79") is not None
