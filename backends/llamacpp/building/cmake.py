"""One tree of llama.cpp's sources with its build folder.

A project of our own stands around llama.cpp's: it builds the few programs that runnerd uses, and
puts the ladder's flags behind those of ggml's code for the processor, so that another rung compiles
nothing else.  Everything that CMake, Ninja and the compilers print is in one log file.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from runnerd import threads
from runnerd.backends.environment import child_environment
from runnerd.backends.llamacpp import places
from runnerd.backends.llamacpp.building.estimate import Estimate, left, planned
from runnerd.backends.llamacpp.building.ladder import Rung
from runnerd.backends.output import Output
from runnerd.backends.process import INSTALLED, EngineProcess
from runnerd.errors import BackendFailure
from runnerd.tasks import uninterrupted

log = logging.getLogger(__name__)

PROGRAMS = (
    "llama-server", "llama-fit-params", "llama-quantize", "llama-gguf-split", "llama-bench",
)  # fmt: skip

_PROJECT = """\
cmake_minimum_required(VERSION 3.18)
project(runnerd_engine C CXX)
include(CheckCXXCompilerFlag)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
add_subdirectory("${RUNNERD_LLAMA_CPP}" llama.cpp)
foreach(flag IN LISTS RUNNERD_CPU_FLAGS)
  string(MAKE_C_IDENTIFIER "RUNNERD_HAS${flag}" known)
  check_cxx_compiler_flag("${flag}" ${known})
  if(${known} AND TARGET ggml-cpu)
    target_compile_options(ggml-cpu PRIVATE "$<$<COMPILE_LANGUAGE:C,CXX>:${flag}>")
  endif()
endforeach()
"""
_OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=ON",
    "-DLLAMA_BUILD_COMMON=ON", "-DLLAMA_BUILD_TOOLS=ON", "-DLLAMA_BUILD_SERVER=ON",
    "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_BUILD_UI=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF", "-DLLAMA_BUILD_WEBUI=OFF",
    "-DLLAMA_CURL=OFF", "-DLLAMA_OPENSSL=OFF",
    "-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON", "-DCMAKE_INSTALL_RPATH=$ORIGIN:$ORIGIN/../lib",
)  # fmt: skip
_PORTABLE = ("-DGGML_NATIVE=OFF", "-DGGML_BACKEND_DL=ON", "-DGGML_CPU_ALL_VARIANTS=ON")

_BUILD_VARIABLES = (
    "CMAKE_", "NINJA", "CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "CUDA", "NVCC",
    "HIP", "ROCM", "VULKAN_SDK", "XDG_CACHE_HOME",
)  # fmt: skip
_TELLING = re.compile(r"\berror\b|CMake Error|No space left|Killed|undefined reference", re.I)
_STOP_GRACE = 5.0
_MEMORY_PER_JOB = 1.5 * 2**30  # what the compiler takes for the largest units
_SHOWN_LINES = 8
_LONGEST_PLAN = 4 * 2**20

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to build: the options of its kind, for this processor or for many, with how many jobs.

    `commit` is what the server names beside its version, where its sources do not know it;
    `programs` are the targets.
    """

    portable: bool = False
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    jobs: int | None = None
    commit: str = ""
    programs: tuple[str, ...] = PROGRAMS


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs that build."""

    cmake: Path
    ninja: Path
    ccache: Path | None = None


class Tree:
    """Sources of llama.cpp and what was built of them, in a folder that is removed at the end."""

    def __init__(self, folder: Path, sources: Path, tools: Tools, plan: Plan, log_file: Path):
        self._folder = folder
        self._sources = sources
        self._tools = tools
        self._plan = plan
        self._log_file = log_file
        self._build = folder / "build"

    async def build(self, rung: Rung, report: Report) -> None:
        """Configure and build; what an earlier rung has built is used.

        Raises errors.BackendFailure with the lines that tell why.
        """
        project = await threads.run(self._write_project)
        report("preparing the build of llama.cpp")
        await self._run(self._configuring(project, rung), await self._logged())
        plan = Output(tail_bytes=_LONGEST_PLAN)
        ninja = str(self._tools.ninja)
        programs = self._plan.programs
        await self._run([ninja, "-C", str(self._build), "-n", *programs], plan)
        targets = [part for program in programs for part in ("--target", program)]
        command = [str(self._tools.cmake), "--build", str(self._build), *targets]
        output = await self._logged(Progress(report, planned(plan.tail.encode())))
        await self._run([*command, "--parallel", str(self._jobs())], output)

    def _write_project(self) -> Path:
        project = self._folder / "project"
        project.mkdir(parents=True, exist_ok=True)
        (project / "CMakeLists.txt").write_text(_PROJECT, "utf-8")
        return project

    async def _logged(self, progress: Progress | None = None) -> _BuildOutput:
        # Unbuffered: a failure's message names the file, which then has to be complete.
        log_file = await threads.run_or_close(lambda: open(self._log_file, "ab", buffering=0))
        return _BuildOutput(log_file, progress)

    def collect(self, target: Path, rung: Rung) -> None:
        """Copy programs and libraries to `target`, as the loader finds them there."""
        built = self._build / "bin"
        for folder in (target, target / "bin", target / "lib"):
            places.make_open(folder)
        for name in self._plan.programs:
            if (built / name).exists():
                _put(built / name, target / "bin" / name)
        for library in built.glob("*.so*"):
            if any(part in library.name for part in rung.variants):
                continue
            # What is loaded at run time is looked for beside the program.
            plugin = self._plan.portable and _is_plugin(library.name)
            _put(library, target / ("bin" if plugin else "lib") / library.name)

    def _configuring(self, project: Path, rung: Rung) -> list[str]:
        launcher = []
        if (ccache := self._tools.ccache) is not None:
            launcher = [
                f"-DCMAKE_{language}_COMPILER_LAUNCHER={ccache}" for language in ("C", "CXX")
            ]
        owners = f"{os.environ.get('CMAKE_ARGS', '')} {os.environ.get('RUNNERD_CMAKE_ARGS', '')}"
        named = [f"-DLLAMA_BUILD_COMMIT={self._plan.commit}"] if self._plan.commit else []
        flags = ";".join(() if self._plan.portable else rung.flags)
        return [
            str(self._tools.cmake), "-S", str(project), "-B", str(self._build), "-G", "Ninja",
            f"-DCMAKE_MAKE_PROGRAM={self._tools.ninja}", f"-DRUNNERD_LLAMA_CPP={self._sources}",
            f"-DRUNNERD_CPU_FLAGS={flags}", *named, *_OPTIONS, *launcher, *self._plan.options,
            *(_PORTABLE if self._plan.portable else ()), *owners.split(),
        ]  # fmt: skip

    async def _run(self, argv: Sequence[str], output: Output) -> None:
        process = EngineProcess.start(
            argv,
            output=output,
            environment=self._environment(),
            sandbox=None,
            umask=INSTALLED,
        )
        try:
            record = await process.wait()
        finally:
            await uninterrupted(process.stop(_STOP_GRACE), name="end of the build")
        if record.code != 0:
            raise BackendFailure(
                f"building llama.cpp failed ({record.reason}):\n{_why(record.tail)}\n"
                f"All of it: {self._log_file}"
            )

    def _environment(self) -> dict[str, str]:
        inherited = {
            name: value for name, value in os.environ.items() if name.startswith(_BUILD_VARIABLES)
        }
        inherited.update(self._plan.environment)
        inherited["NINJA_STATUS"] = "[%f/%t] "
        inherited["CCACHE_BASEDIR"] = str(self._folder)
        inherited["CCACHE_NOHASHDIR"] = "1"
        return child_environment(inherited)

    def _jobs(self) -> int:
        if self._plan.jobs is not None:
            return self._plan.jobs
        cores = len(os.sched_getaffinity(0))
        return max(1, min(cores, int(_available_memory() / _MEMORY_PER_JOB)))


class Progress:
    """Turns what Ninja prints into progress, `total` being the weight of all its steps."""

    def __init__(self, report: Report, total: float) -> None:
        self._report = report
        self._estimate = Estimate(total)

    def feed(self, data: bytes) -> None:
        """Take what Ninja printed."""
        one = self._estimate
        if one.feed(data):
            self._report(f"building llama.cpp {one.done}/{one.of}{left(one.remaining)}")


class _BuildOutput(Output):
    """Writes the log, all of it, and hands it on to the progress."""

    def __init__(self, log_file: FileIO, progress: Progress | None = None) -> None:
        super().__init__()
        self._progress = progress
        self._log = log_file

    def feed(self, data: bytes) -> None:
        super().feed(data)
        with contextlib.suppress(OSError):  # a full disk stops the build with a better reason
            self._log.write(data)
        if self._progress is not None:
            self._progress.feed(data)

    def close(self) -> None:
        super().close()
        with contextlib.suppress(OSError):
            self._log.close()


def find_programs() -> tuple[Path | None, Path | None, Path | None]:
    """Return CMake, Ninja and ccache, as far as they are on the PATH."""
    cmake, ninja, ccache = (shutil.which(name) for name in ("cmake", "ninja", "ccache"))
    return tuple(None if found is None else Path(found) for found in (cmake, ninja, ccache))  # type: ignore[return-value]


def check_compiler() -> None:
    """Raise errors.BackendFailure where there is no C++ compiler."""
    names = (os.environ.get("CXX"), "c++", "g++", "clang++")
    if not any(shutil.which(name) for name in names if name):
        raise BackendFailure(
            "there is no C++ compiler to build llama.cpp with: install one"
            " (Debian: apt install g++), or put a llama-server on the PATH"
        )


def _put(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    if source.is_symlink():
        target.symlink_to(os.readlink(source))
    else:
        shutil.copyfile(source, target)
        target.chmod(0o755)


def _is_plugin(name: str) -> bool:
    return name.startswith("libggml-") and not name.startswith("libggml-base")


def _available_memory() -> float:
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text("utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 2 * 2**30


def _why(tail: str) -> str:
    """Return the lines of the output that tell why it failed, else the last ones."""
    lines = [line.strip()[:300] for line in tail.splitlines() if line.strip()]
    telling = [line for line in lines if _TELLING.search(line) and not line.startswith("[")]
    return "\n".join(telling[:_SHOWN_LINES] or lines[-_SHOWN_LINES:]) or "it printed nothing"
