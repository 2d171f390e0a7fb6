"""The driver's library with devices of a test, behind the real Python binding."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

_SOURCE = Path(__file__).with_name("nvml.c")


def nvml_with(
    folder: Path, facts: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], ModuleType | None]:
    """Compile the library and put it behind the binding; `facts` is what it tells (see nvml.c)."""
    import pynvml

    library = folder / "libnvidia-ml.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, _SOURCE], check=True)
    monkeypatch.setenv("NVML_FACTS", facts)
    monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(library)))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    return lambda: pynvml
