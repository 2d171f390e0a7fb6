"""Builds the engine from carried sources: for one card, and no more than the bench runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from runnerd.backends.llamacpp.building.sources import unpack_sources

_TARGETS = ("llama-server", "llama-fit-params")
_OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "GGML_NATIVE": "ON",
    "GGML_CUDA_NCCL": "OFF",
}
_FOLDERS = ("tests", "examples", "docs")  # named by CMake files, also where they are not built


def build(sources: Path, folder: Path, architectures: list[str]) -> Path:
    """Build in `folder` for these CUDA architectures (none: the processor); return the server.

    Raises SystemExit with the end of the compiler's output.
    """
    root, built = unpack_sources(sources / "llama.cpp.tar.xz", folder), folder / "build"
    for name in _FOLDERS:
        (root / name).mkdir(exist_ok=True)
    options = dict(_OPTIONS)
    if architectures:
        options["GGML_CUDA"] = "ON"
        # "-real": machine code for this card, and no portable code beside it.
        options["CMAKE_CUDA_ARCHITECTURES"] = ";".join(f"{each}-real" for each in architectures)
        options["CUDAToolkit_ROOT"] = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    flags = [f"-D{name}={value}" for name, value in options.items()]
    _run(["cmake", "-S", str(root), "-B", str(built), *generator, *flags], folder)
    jobs = str(os.cpu_count() or 1)
    _run(["cmake", "--build", str(built), "-j", jobs, "--target", *_TARGETS], folder)
    return built / "bin" / "llama-server"


def _run(argv: list[str], folder: Path) -> None:
    with open(folder / "build.log", "ab+") as log:
        if subprocess.run(argv, stdout=log, stderr=subprocess.STDOUT).returncode != 0:
            log.seek(0)
            tail = log.read().decode(errors="replace").splitlines()[-25:]
            raise SystemExit("\n".join([f"{' '.join(argv[:3])} failed:", *tail]))
