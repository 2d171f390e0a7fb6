"""NVIDIA's devices through NVML, the library that comes with the driver.

It is called through ctypes: six functions and two structures do not need a package, and a host
without the driver simply has no GPUs.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

_LIBRARY = "libnvidia-ml.so.1"
_TOO_SMALL = 7
_UNKNOWN = 2**64 - 1


class _Memory(ctypes.Structure):
    _fields_ = [
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    ]


class _Process(ctypes.Structure):
    _fields_ = [
        ("pid", ctypes.c_uint),
        ("used", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    ]


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """One device: its number as CUDA counts on a host without masks, its name, bytes."""

    index: int
    name: str
    total: int
    free: int


class Gpus:
    """Owns the connection to NVML, which is opened at the first look and kept."""

    def __init__(self, load: Callable[[str], Any] = ctypes.CDLL) -> None:
        self._load = load
        self._library: Any = None
        self._handles: list[Any] = []
        self._names: list[str] = []
        self._opened = False

    def devices(self) -> list[GpuMemory]:
        """Return the devices; none where there is no driver, or where it does not answer."""
        self._open()
        found = []
        for index, (handle, name) in enumerate(zip(self._handles, self._names, strict=True)):
            memory = _Memory()
            if self._library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) == 0:
                found.append(GpuMemory(index, name, int(memory.total), int(memory.free)))
        return found

    def process(self, pid: int) -> dict[int, int]:
        """Return the bytes that a process holds, by device number."""
        self._open()
        held = {}
        for index, handle in enumerate(self._handles):
            for process in self._processes(handle):
                if process.pid == pid and process.used != _UNKNOWN:
                    held[index] = int(process.used)
        return held

    def _processes(self, handle: Any) -> list[_Process]:
        ask = getattr(self._library, "nvmlDeviceGetComputeRunningProcesses_v3", None)
        if ask is None:
            return []
        count = ctypes.c_uint(64)
        for _ in range(3):
            room = (_Process * count.value)()
            status = ask(handle, ctypes.byref(count), room)
            if status == 0:
                return list(room[: count.value])
            if status != _TOO_SMALL:
                break
            count.value += 16
        return []

    def _open(self) -> None:
        if self._opened:
            return
        self._opened = True
        try:
            library = self._load(_LIBRARY)
        except OSError:
            return
        if (status := library.nvmlInit_v2()) != 0:
            log.warning("the NVIDIA driver does not answer (NVML status %d): no GPUs", status)
            return
        self._library = library
        count = ctypes.c_uint()
        library.nvmlDeviceGetCount_v2(ctypes.byref(count))
        for index in range(count.value):
            handle = ctypes.c_void_p()
            if library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) == 0:
                name = ctypes.create_string_buffer(96)
                library.nvmlDeviceGetName(handle, name, 96)
                self._handles.append(handle)
                self._names.append(name.value.decode("utf-8", "replace"))
