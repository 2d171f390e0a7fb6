"""GPUs of this host and toolkits to build for them, as files tell; nothing is started.

A driver's device nodes say that there is a card.  Whether an engine computes on it, the engine says
(`--list-devices`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["cuda", "rocm", "vulkan", "cpu"]

_DISPLAY_VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}


@dataclass(frozen=True, slots=True)
class Hardware:
    """The cards whose drivers are loaded, and the compilers for them (None: not there).

    `nvidia` and `amd` are cards with a driver for computing; `others` are GPUs that only Vulkan
    reaches.
    """

    nvidia: tuple[str, ...] = ()
    amd: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    nvcc: Path | None = None
    hipcc: Path | None = None
    glslc: Path | None = None

    @property
    def cards(self) -> tuple[str, ...]:
        """The cards that an engine should use: those with a driver for computing."""
        return self.nvidia + self.amd

    @property
    def best(self) -> Kind:
        """What to build where nobody says: for the toolkit that is here, else for the processor."""
        if self.nvcc is not None and not (self.amd and self.hipcc and not self.nvidia):
            return "cuda"
        if self.hipcc is not None and (self.amd or not self.cards):
            return "rocm"
        if self.glslc is not None and (self.cards or self.others):
            return "vulkan"
        return "cpu"

    @property
    def lacking(self) -> str:
        """What to install for the cards that are here, before an engine can be built for them."""
        if self.nvidia and self.nvcc is None:
            return "the CUDA toolkit (Debian: apt install nvidia-cuda-toolkit)"
        if self.amd and self.hipcc is None:
            return "ROCm's compiler (apt install hipcc rocblas-dev hipblas-dev)"
        return ""

    @property
    def remedy(self) -> str:
        """The one line that gets an engine for the cards that are here."""
        kind = "cuda" if self.nvidia else "rocm"
        first = f"install {self.lacking}, then: " if self.lacking else ""
        return f"{first}runnerd install llama.cpp --with {kind}"


def look(root: Path = Path("/")) -> Hardware:
    """Find the GPUs and toolkits of this host; `root` is another file system's, for tests."""
    return Hardware(
        nvidia=tuple(sorted(_names(root, "dev/nvidia[0-9]*"))),
        amd=tuple(_amd(root)),
        others=tuple(_others(root)),
        nvcc=_program("nvcc", "CUDACXX", ("usr/local/cuda/bin", "opt/cuda/bin"), root),
        hipcc=_program("hipcc", "HIPCC", ("opt/rocm/bin",), root),
        glslc=_vulkan(root),
    )


def _names(root: Path, pattern: str) -> Iterator[str]:
    for path in root.glob(pattern):
        if path.name.removeprefix("nvidia").isdigit():
            yield "/" + str(path.relative_to(root))


def _amd(root: Path) -> Iterator[str]:
    """Find the nodes of AMD's compute driver that can compute; processors are listed there too."""
    if not (root / "dev/kfd").exists():
        return
    for node in sorted(root.glob("sys/class/kfd/kfd/topology/nodes/*/properties")):
        if dict(_pairs(node)).get("simd_count", "0") != "0":
            yield f"/dev/kfd node {node.parent.name}"


def _pairs(file: Path) -> Iterator[tuple[str, str]]:
    try:
        lines = file.read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    for line in lines:
        name, _, value = line.partition(" ")
        yield name, value.strip()


def _others(root: Path) -> Iterator[str]:
    for card in sorted(root.glob("sys/class/drm/renderD*/device/vendor")):
        try:
            vendor = _DISPLAY_VENDORS.get(card.read_text("ascii", "replace").strip())
        except OSError:
            continue
        if vendor is not None:
            yield f"{vendor} {card.parents[1].name}"


def _program(name: str, variable: str, folders: tuple[str, ...], root: Path) -> Path | None:
    if found := os.environ.get(variable) or shutil.which(name):
        return Path(found)
    for folder in folders:
        if os.access(path := root / folder / name, os.X_OK):
            return path
    return None


def _vulkan(root: Path) -> Path | None:
    """Return the shader compiler, where Vulkan's headers are too."""
    sdk = os.environ.get("VULKAN_SDK")
    folders = [root / "usr/include", *([Path(sdk) / "include"] if sdk else [])]
    headers = any((folder / "vulkan/vulkan.h").is_file() for folder in folders)
    glslc = shutil.which("glslc")
    return Path(glslc) if headers and glslc else None
