"""Builds the engine from carried sources: for one card, and no more than the bench runs."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from runnerd.backends.llamacpp.building.cmake import Plan, Tools, Tree, find_programs
from runnerd.backends.llamacpp.building.ladder import TOP
from runnerd.backends.llamacpp.building.sources import unpack_sources
from runnerd.errors import BackendFailure

_PROGRAMS = ("llama-server", "llama-fit-params")
_FOLDERS = ("tests", "examples", "docs")  # named by CMake files, also where they are not built


def build(sources: Path, folder: Path, architectures: list[str]) -> Path:
    """Build in `folder` for these CUDA architectures (none: the processor); return the server.

    It is built as `runnerd install` builds it.  Raises SystemExit with the lines that tell why it
    cannot be.
    """
    root = unpack_sources(sources / "llama.cpp.tar.xz", folder)
    for name in _FOLDERS:
        (root / name).mkdir(exist_ok=True)
    options, environment = _for_cards(architectures) if architectures else ((), {})
    plan = Plan(options=options, environment=environment, programs=_PROGRAMS)
    tree = Tree(folder, root, _tools(), plan, folder / "build.log")
    try:
        asyncio.run(tree.build(TOP, print))
    except BackendFailure as error:
        raise SystemExit(error.message) from error
    return folder / "build" / "bin" / "llama-server"


def _for_cards(architectures: list[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """CMake's options and the environment for these architectures."""
    toolkit = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    # "-real": machine code for this card, and no portable code beside it.
    cards = ";".join(f"{each}-real" for each in architectures)
    options = (
        "-DGGML_CUDA=ON",
        "-DGGML_CUDA_NCCL=OFF",
        f"-DCMAKE_CUDA_ARCHITECTURES={cards}",
        f"-DCUDAToolkit_ROOT={toolkit}",
    )
    compiler = Path(toolkit, "bin", "nvcc")
    return options, {"CUDACXX": str(compiler)} if compiler.exists() else {}


def _tools() -> Tools:
    cmake, ninja, ccache = find_programs()
    if cmake is None or ninja is None:
        raise SystemExit("building takes CMake and Ninja: pip install cmake ninja")
    return Tools(cmake, ninja, ccache)
