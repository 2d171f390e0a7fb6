"""Building an engine: a scripted CMake around the real server, everything else real."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
import sysconfig
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from runnerd.backends.llamacpp import hardware, places
from runnerd.backends.llamacpp.building import workshop as module
from runnerd.backends.llamacpp.building.choice import EngineRequest
from runnerd.backends.llamacpp.building.workshop import Installed, Workshop
from runnerd.backends.llamacpp.hardware import Hardware
from runnerd.backends.llamacpp.trial.identity import Processor
from runnerd.errors import BackendFailure
from tests.support.builds import Build, scripted_build
from tests.support.waiting import until

SAPPHIRE = Processor("x86_64", "a Xeon", frozenset({"amx_tile", "avx512f", "avx2"}))


class Bench:
    """A workshop in a folder of the test's, and what it said."""

    def __init__(self, root: Path, build: Build, http: aiohttp.ClientSession) -> None:
        self.root = root
        self.build = build
        self.told: list[str] = []
        self.reported: list[str] = []
        self._http = http

    async def install(self, **request: object) -> Installed:
        workshop = Workshop(
            self.root, self._http, report=self.reported.append, tell=self.told.append
        )
        return await workshop.install(EngineRequest(**{"source": self.build.sources} | request))  # type: ignore[arg-type]

    @property
    def left(self) -> set[str]:
        return {path.name for path in self.root.iterdir()}


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    build = scripted_build(tmp_path, monkeypatch)
    build.makes_real()
    monkeypatch.setattr(hardware, "look", lambda: Hardware())
    monkeypatch.setattr(module, "this_processor", lambda: SAPPHIRE)
    monkeypatch.setattr(places, "environment_root", lambda: tmp_path / "none")
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"purelib": str(tmp_path / "none")})
    async with aiohttp.ClientSession() as http:
        yield Bench(tmp_path / "engines", build, http)


async def test_it_builds_and_then_is_quick(bench: Bench) -> None:
    """The first call builds only what is used and tries it; the second starts no build."""
    done = await bench.install()
    assert done.built
    assert "is ready" in done.sentence
    assert "built for this processor" in done.sentence
    (configuring, building) = bench.build.calls
    assert "-DLLAMA_BUILD_TESTS=OFF" in configuring
    assert "-DCMAKE_INSTALL_RPATH=$ORIGIN:$ORIGIN/../lib" in configuring
    assert "GGML_CUDA" not in configuring
    assert "--target llama-server --target llama-fit-params" in building
    assert bench.reported[-1] == "trying the engine with tiny models"
    again = await bench.install()
    assert not again.built
    assert again.path == done.path == places.server_in(bench.root, "cpu")
    assert len(bench.build.builds) == 1
    assert bench.left == {"cpu", "cpu.log", ".trials.json"}


async def test_a_strict_umask_closes_no_engine(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the umask of a careful owner, which is also the daemon's own, an engine can be read by
    whom it runs as.
    """
    monkeypatch.setattr(places, "environment_root", lambda: bench.root)
    bench.root = bench.root.parent / "lib" / "engines"
    bench.root.parents[1].mkdir(exist_ok=True)
    before = os.umask(0o077)
    try:
        done = await bench.install()
    finally:
        os.umask(before)
    assert done.built
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (bench.root / "cpu").rglob("*")}
    assert places.server_in(bench.root, "cpu") in modes
    assert {path for path, mode in modes.items() if mode not in (0o755, 0o644)} == set()
    for folder in (bench.root.parent, bench.root, bench.root / "cpu"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755


@pytest.mark.parametrize("signal", ["ILL", "SEGV", "BUS"])
async def test_an_engine_that_dies_is_built_without_amx(bench: Bench, signal: str) -> None:
    """The user reads one sentence about it, and the engine answers."""
    bench.build.makes_real("*no-amx-tile*", how=signal)
    done = await bench.install()
    assert bench.build.flags[0] == ""
    assert bench.build.flags[1].startswith("-mno-amx-tile;-mno-amx-int8;-mno-amx-bf16")
    assert "built without AMX, which this processor announces and does not run" in done.sentence
    (_, told) = bench.told
    assert f"SIG{signal} with a decoder" in told
    assert json.loads((bench.root / "cpu" / "engine.json").read_text())["without"] == "AMX"
    assert not (await bench.install()).built


async def test_the_whole_ladder(bench: Bench) -> None:
    """After AMX goes AVX-512, then everything beyond AVX2, then a plain x86-64."""
    bench.build.makes_real("*march=x86-64*")
    done = await bench.install()
    assert [flags.rpartition(";")[2] for flags in bench.build.flags] == [
        "", "-mno-amx-fp16", "-mno-avx512f", "-march=haswell", "-march=x86-64",
    ]  # fmt: skip
    assert "AVX and whatever came later" in done.sentence


async def test_an_engine_that_always_dies(bench: Bench) -> None:
    """At the end of the ladder it is a failure, and nothing that dies is left behind."""
    bench.build.makes_real("never")
    with pytest.raises(BackendFailure, match=r"however it is built: .*SIGILL"):
        await bench.install()
    assert bench.left == {"cpu.log", ".trials.json"}


async def test_what_was_there_stays_until_another_one_works(bench: Bench) -> None:
    """A rebuild that fails takes nothing away."""
    first = await bench.install()
    bench.build.does("echo 'a.cpp:1: error: no'; exit 1")
    with pytest.raises(BackendFailure, match="error: no") as caught:
        await bench.install(rebuild=True)
    assert str(bench.root / "cpu.log") in caught.value.message
    assert first.path.exists()
    assert "error: no" in (bench.root / "cpu.log").read_text()


async def test_an_engine_from_elsewhere_is_built_again(bench: Bench) -> None:
    """One that dies here is not ready, whatever is known of it on another processor."""
    await bench.install()
    server = places.server_in(bench.root, "cpu")
    server.write_text(
        server.read_text().replace("exec", 'case "$*" in *model*) kill -ILL $$; esac; exec')
    )
    (bench.root / ".trials.json").write_text('{"elsewhere": {"state": "works"}}')
    done = await bench.install()
    assert done.built
    assert any("was built for another processor" in told for told in bench.told)


async def test_a_cancelled_build_leaves_nothing(bench: Bench) -> None:
    """Neither files nor processes, and it can be repeated."""
    bench.build.does("sleep 3600")
    task = asyncio.get_running_loop().create_task(bench.install())
    await until(lambda: bool(bench.build.builds))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.left == {"cpu.log"}
    assert "sleep" not in _names(psutil.Process().children())
    bench.build.makes_real()
    assert (await bench.install()).built


def _names(processes: list[psutil.Process]) -> list[str]:
    """What those processes are called that are still there."""
    names = []
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            names.append(each.name())
    return names


async def test_a_cancelled_trial_leaves_nothing(bench: Bench) -> None:
    """Also while the engine is being tried."""
    bench.build.makes("case \"$*\" in *--model*) sleep 3600;; esac\necho 'version: 1'")
    task = asyncio.get_running_loop().create_task(bench.install())
    this = psutil.Process()
    await until(lambda: "sleep" in _names(this.children(recursive=True)))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.left == {"cpu.log"}


async def test_an_older_version_is_replaced(bench: Bench) -> None:
    """What was built of other sources is built again."""
    await bench.install()
    (bench.root / "cpu" / "engine.json").write_text(json.dumps({"version": "0.3.1"}))
    assert (await bench.install()).built


async def test_a_server_that_is_here_already_will_do(bench: Bench) -> None:
    """Where that is asked for: it is tried, told with what it lacks, and nothing is built."""
    bench.build.makes_real()
    found = bench.build.folder / "llama-server"
    found.write_text(f"#!/bin/sh\nflags=\n{(bench.build.folder / 'server').read_text()}")
    found.chmod(0o755)
    done = await bench.install(source=None, found=True)
    assert (done.path, done.built) == (found, False)
    assert "is used" in done.sentence
    assert "nothing is quantized (no llama-quantize beside it)" in done.sentence
    assert bench.build.calls == []


async def test_a_card_and_its_toolkit_make_a_processors_engine_unready(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nvcc newly there, what was built for the processor is no response."""
    await bench.install()
    nvcc = bench.build.folder / "nvcc"
    monkeypatch.setattr(hardware, "look", lambda: Hardware(nvidia=("/dev/nvidia0",), nvcc=nvcc))
    await bench.install()
    assert "-DGGML_CUDA=ON" in bench.build.calls[2]
    assert {"cpu", "cuda"} <= bench.left
    assert f"building for CUDA ({nvcc})" in bench.told[-1]


async def test_no_compiler(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a C++ compiler the message says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendFailure, match=r"apt install g\+\+"):
        await bench.install()
    assert bench.build.calls == []


async def test_the_owners_build_options(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """CMAKE_ARGS and RUNNERD_CMAKE_ARGS come last."""
    monkeypatch.setenv("CMAKE_ARGS", "-DA=1")
    monkeypatch.setenv("RUNNERD_CMAKE_ARGS", "-DGGML_CUDA=OFF")
    await bench.install(jobs=3)
    assert bench.build.calls[0].endswith(" -DA=1 -DGGML_CUDA=OFF")
    assert bench.build.calls[1].endswith("--parallel 3")


async def test_ccache_is_used_where_it_is(bench: Bench) -> None:
    """A second build of the same is then a matter of seconds."""
    await bench.install()
    assert "COMPILER_LAUNCHER" not in bench.build.calls[0]
    ccache = bench.build.folder / "ccache"
    ccache.symlink_to("/bin/true")
    await bench.install(rebuild=True)
    assert f"-DCMAKE_CXX_COMPILER_LAUNCHER={ccache}" in bench.build.calls[2]


async def test_portable_variants_that_die_are_taken_away(bench: Bench) -> None:
    """What is picked at each start can be the wrong one: nothing is compiled again for that."""
    bench.build.makes_real()
    libraries = "sapphirerapids zen4 haswell x64"
    bench.build.does(
        f'for v in {libraries}; do touch "$build/bin/libggml-cpu-$v.so"; done\n'
        f'touch "$build/bin/libggml-base.so"\n{bench.build.body}'
    )
    picks = '[ -e "$(dirname "$0")/libggml-cpu-zen4.so" ] && kill -ILL $$'
    says = "echo load_backend: loaded CPU backend from /somewhere/libggml-cpu-haswell.so"
    bench.build.makes_server_that(
        f'case "$*" in *--model*) {picks} ;; *--verbosity*--list-devices) {says} ;; esac'
    )
    done = await bench.install(portable=True)
    plugins = {path.name for path in done.path.parent.glob("lib*")}
    assert plugins == {"libggml-cpu-haswell.so", "libggml-cpu-x64.so"}
    assert {path.name for path in (done.path.parents[1] / "lib").iterdir()} == {"libggml-base.so"}
    assert len(bench.build.builds) == 1
    assert "-DGGML_CPU_ALL_VARIANTS=ON" in bench.build.calls[0]
    assert done.path == places.server_in(bench.root, "portable")
    assert "without AVX-512" in done.sentence
    assert "its code for haswell here" in done.sentence
    again = await bench.install(portable=True)
    assert "its code for haswell, on the processor" in again.sentence
