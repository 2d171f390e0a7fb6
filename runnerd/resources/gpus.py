"""NVIDIA's devices as NVML tells of them, numbered as CUDA numbers them for an engine.

NVML sees every device of the host, in the order of their places on the PCI bus.  A CUDA program
sees those that `CUDA_VISIBLE_DEVICES` names, in that order.  So that `gpu0` means the same device
here and in an engine, the variable is read here too, and engines count by PCI place
(`DEVICE_ORDER`).  A host without the driver simply has no GPUs.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

log = logging.getLogger(__name__)

DEVICE_ORDER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
"""What an engine's environment needs so that CUDA numbers devices as NVML does."""

_LIBRARY = "libnvidia-ml.so.1"
_VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """One device: its number as an engine's CUDA counts, its name, bytes."""

    index: int
    name: str
    total: int
    free: int


@dataclass(frozen=True, slots=True)
class _Gpu:
    handle: Any
    name: str
    uuid: str


def load_nvml() -> ModuleType | None:
    """Return NVML's Python binding, None on a host without the driver.

    The binding is large; a host that has no use for it does not import it.
    """
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
    return importlib.import_module("pynvml")


class Gpus:
    """Owns the connection to NVML, which is opened at the first look and kept.

    `load` and `environment` are others in tests.
    """

    def __init__(
        self,
        load: Callable[[], ModuleType | None] = load_nvml,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._load = load
        self._environment = environment
        self._nvml: Any = None
        self._gpus: list[_Gpu] = []
        self._opened = False

    def devices(self) -> list[GpuMemory]:
        """Return the devices; none where there is no driver, or where it does not answer."""
        self._open()
        found = []
        for index, gpu in enumerate(self._gpus):
            memory = self._ask("nvmlDeviceGetMemoryInfo", gpu.handle)
            if memory is not None:
                found.append(GpuMemory(index, gpu.name, int(memory.total), int(memory.free)))
        return found

    def process(self, pid: int) -> dict[int, int]:
        """Return the bytes that a process holds, by device number.

        Inside a container with process ids of its own NVML cannot tell: nothing then.
        """
        self._open()
        held = {}
        for index, gpu in enumerate(self._gpus):
            for process in self._ask("nvmlDeviceGetComputeRunningProcesses", gpu.handle) or ():
                if process.pid == pid and process.usedGpuMemory is not None:
                    held[index] = int(process.usedGpuMemory)
        return held

    def architectures(self) -> list[str]:
        """Return each device's compute capability, as CMake writes it ("90" for 9.0)."""
        self._open()
        asked = [self._ask("nvmlDeviceGetCudaComputeCapability", gpu.handle) for gpu in self._gpus]
        return [f"{major}{minor}" for major, minor in (pair for pair in asked if pair is not None)]

    def _ask(self, function: str, *arguments: Any) -> Any:
        """Call NVML; None where it refuses: a device may be lost or lack a figure at any time."""
        try:
            return getattr(self._nvml, function)(*arguments)
        except self._nvml.NVMLError as error:
            log.debug("%s: %s", function, error)
            return None

    def _open(self) -> None:
        if self._opened:
            return
        self._opened = True
        nvml: Any = self._load()
        if nvml is None:
            return
        try:
            nvml.nvmlInit()
            count = nvml.nvmlDeviceGetCount()
        except nvml.NVMLError as error:
            log.warning("the NVIDIA driver does not answer (%s): no GPUs are used", error)
            return
        self._nvml = nvml
        known = [gpu for index in range(count) if (gpu := self._look(index)) is not None]
        self._gpus = visible(known, self._environment.get(_VISIBLE))
        if self._environment.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID") != "PCI_BUS_ID":
            log.warning(
                "CUDA_DEVICE_ORDER is not PCI_BUS_ID: with unlike GPUs, memory may be counted on "
                "another GPU than the engine uses; unset it"
            )

    def _look(self, index: int) -> _Gpu | None:
        handle = self._ask("nvmlDeviceGetHandleByIndex", index)
        if handle is None:
            return None
        name = self._ask("nvmlDeviceGetName", handle)
        uuid = self._ask("nvmlDeviceGetUUID", handle)
        return _Gpu(handle, _text(name) or "NVIDIA GPU", _text(uuid))


def visible(gpus: list[_Gpu], names: str | None) -> list[_Gpu]:
    """Return the devices that a CUDA program with `CUDA_VISIBLE_DEVICES=names` sees, in its order.

    By number or by the beginning of a UUID; the first name that fits no device ends the list, and
    so does one that was named before (CUDA C++ Programming Guide, "CUDA Environment Variables").
    """
    if names is None:
        return gpus
    seen: list[_Gpu] = []
    for name in (part.strip() for part in names.split(",")):
        if name.isascii() and name.isdecimal() and int(name) < len(gpus):
            fitting = [gpus[int(name)]]
        elif name.startswith("GPU-"):
            fitting = [gpu for gpu in gpus if gpu.uuid.startswith(name)]
        else:
            fitting = []
        if len(fitting) != 1 or fitting[0] in seen:
            break
        seen += fitting
    return seen


def _text(value: Any) -> str:
    """Return NVML's text: older bindings give bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
