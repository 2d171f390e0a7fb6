"""What to build on this host, and the sentence that says so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from runnerd.backends.llamacpp.building.cmake import Plan
from runnerd.backends.llamacpp.hardware import Hardware, Kind
from runnerd.errors import BackendFailure

_NAMES = {"cuda": "CUDA", "rocm": "ROCm", "vulkan": "Vulkan", "cpu": "the processor"}
_TOOLKITS = {
    "cuda": "the CUDA toolkit, whose compiler nvcc is not on the PATH"
    " (Debian: apt install nvidia-cuda-toolkit)",
    "rocm": "ROCm, whose compiler hipcc is not on the PATH"
    " (apt install hipcc rocblas-dev hipblas-dev)",
    "vulkan": "glslc and Vulkan's headers"
    " (Debian: apt install glslc libvulkan-dev spirv-headers mesa-vulkan-drivers)",
}


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """What was asked for; None lets the host decide.

    `found` accepts a server that is there already, whoever installed it, if it fits this host.
    `source` is an archive or a folder of llama.cpp, for hosts without a network.
    """

    kind: Kind | None = None
    portable: bool = False
    rebuild: bool = False
    version: str | None = None
    jobs: int | None = None
    source: Path | None = None
    found: bool = False

    @property
    def open(self) -> bool:
        """Whether any engine that fits will do."""
        return self == replace(EngineRequest(), found=self.found, jobs=self.jobs)


@dataclass(frozen=True, slots=True)
class Choice:
    """What is built: under which name, why in words, and what CMake is told."""

    name: str
    kind: Kind
    sentence: str
    plan: Plan


def choose(request: EngineRequest, hardware: Hardware) -> Choice:
    """What to build.  Raises errors.BackendFailure where what it takes is missing."""
    kind = request.kind or hardware.best
    compilers = {"cuda": hardware.nvcc, "rocm": hardware.hipcc, "vulkan": hardware.glslc}
    compiler = compilers.get(kind)
    if kind != "cpu" and compiler is None:
        raise BackendFailure(f"--with {kind} needs {_TOOLKITS[kind]}")
    name: str = kind
    sentence = f"building for {_NAMES[kind]}"
    if compiler is not None:
        sentence += f" ({compiler})"
    if request.portable:
        name = "portable" if kind == "cpu" else f"{kind}-portable"
        sentence += ", in variants for many processors, of which one is picked at each start"
    if kind == "cpu" and hardware.cards and request.kind is None:
        sentence += f". The GPU is left alone; to use it, {hardware.remedy}"
    plan = Plan(
        portable=request.portable,
        options=_options(kind),
        environment=_environment(kind, compiler),
        jobs=request.jobs,
    )
    return Choice(name, kind, sentence, plan)


def _options(kind: Kind) -> tuple[str, ...]:
    match kind:
        case "cuda":
            return ("-DGGML_CUDA=ON",)
        case "rocm":
            return ("-DGGML_HIP=ON",)
        case "vulkan":
            return ("-DGGML_VULKAN=ON",)
        case "cpu":
            return ()


def _environment(kind: Kind, compiler: Path | None) -> dict[str, str]:
    if compiler is None:
        return {}
    if kind == "cuda":
        return {"CUDACXX": str(compiler)}
    if kind == "rocm":
        root = compiler.resolve().parents[1]
        clang = root / "llvm" / "bin" / "clang++"
        found = {"HIPCXX": str(clang)} if clang.exists() else {}
        return {"ROCM_PATH": str(root), "HIP_PATH": str(root), **found}
    return {}
