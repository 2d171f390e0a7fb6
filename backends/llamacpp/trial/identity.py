"""Which processor this is and which engine that is: what a verdict holds for.

An engine that ran may die after a disk was moved, a container image was started elsewhere or a
virtual machine was migrated; a new kernel or driver may take instructions away or give them.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_DRIVERS = (Path("/sys/module/nvidia/version"), Path("/sys/module/amdgpu/version"))
_MODEL_KEYS = ("vendor_id", "cpu family", "model", "model name", "stepping",
               "CPU implementer", "CPU part", "CPU variant")  # fmt: skip
_FLAG_KEYS = ("flags", "Features")
_LIBRARIES = ("libllama*.so*", "libggml*.so*", "libmtmd*.so*")
_MOST_FILES = 256


@dataclass(frozen=True, slots=True)
class Processor:
    """What the kernel says of the processor: its kind, its model, the instruction sets."""

    machine: str
    model: str
    flags: frozenset[str]
    kernel: str = ""
    drivers: str = ""

    @property
    def identity(self) -> str:
        """Equal for processors that run the same code."""
        return _digest(
            self.machine, self.model, " ".join(sorted(self.flags)), self.kernel, self.drivers
        )


@cache
def this_processor() -> Processor:
    """Return this host's processor; read once, it does not change under a running process."""
    drivers = [path.read_text("utf-8", "replace").strip() for path in _DRIVERS if path.is_file()]
    try:
        text = _CPUINFO.read_text("utf-8", "replace")
    except OSError:
        text = ""
    return parse_cpuinfo(text, platform.machine(), os.uname().release, " ".join(drivers))


def parse_cpuinfo(text: str, machine: str, kernel: str = "", drivers: str = "") -> Processor:
    """Return the first processor that /proc/cpuinfo lists."""
    fields: dict[str, str] = {}
    for line in text.partition("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        fields[key.strip()] = value.strip()
    flags = next((fields[key] for key in _FLAG_KEYS if key in fields), "")
    model = "; ".join(fields[key] for key in _MODEL_KEYS if key in fields)
    return Processor(machine, model, frozenset(flags.split()), kernel, drivers)


def engine_identity(server: Path, libraries: Sequence[Path] = ()) -> str:
    """What tells this build from another one: its files' names, sizes and times.

    `libraries` are further folders where its libraries may lie.  Raises OSError without a server.
    """
    real = server.resolve()
    real.stat()
    found = sorted({*_beside(real.parent), *(file for at in libraries for file in _own(at))})
    return _digest(*(_stamp(file) for file in [real, *found[:_MOST_FILES]]))


def _beside(folder: Path) -> Iterator[Path]:
    """Find libraries where builds, distributions and Homebrew put them."""
    prefix = folder.parent
    multiarch = f"{platform.machine()}-linux-gnu"
    places = (folder, prefix / "lib", prefix / "lib64", prefix / "lib" / multiarch)
    for place in places:
        for below in (place, place / "ggml", place / "llama.cpp"):
            yield from _own(below)


def _own(folder: Path) -> Iterator[Path]:
    for pattern in _LIBRARIES:
        yield from folder.glob(pattern)


def _stamp(file: Path) -> str:
    try:
        status = file.stat()
    except OSError:  # a link into nowhere
        return f"{file.name} gone"
    return f"{file.name} {status.st_size} {status.st_mtime_ns}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
