"""The host's memory: control groups from folders of a test, NVML from a library of a test."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from runnerd.resources import Host
from runnerd.resources.gpus import Gpus, _Memory, _Process
from runnerd.resources.ram import process_ram, ram

MIB = 2**20
GONE = 2**22 + 1  # beyond what a process id can be


def group(root: Path, limit: str, used: int, cache: int = 0) -> None:
    """Write the files of a version 2 group."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "memory.max").write_text(f"{limit}\n")
    (root / "memory.current").write_text(f"{used}\n")
    (root / "memory.stat").write_text(f"anon 5\ninactive_file {cache}\n")


def member(tmp_path: Path, line: str) -> Path:
    file = tmp_path / "membership"
    file.write_text(line + "\n")
    return file


def test_without_a_group_the_machine_counts(tmp_path: Path) -> None:
    """No file to read, no limit."""
    total, free = ram(tmp_path, tmp_path / "none")
    assert total == psutil.virtual_memory().total
    assert 0 < free <= total


def test_limit_of_a_group_counts_and_its_page_cache_is_free(tmp_path: Path) -> None:
    """Free is the limit less what is used, cache aside."""
    group(tmp_path / "a", str(64 * MIB), 40 * MIB, cache=10 * MIB)
    assert ram(tmp_path, member(tmp_path, "0::/a")) == (64 * MIB, 34 * MIB)


def test_tightest_group_above_counts(tmp_path: Path) -> None:
    """A limit further up holds for everything below it."""
    group(tmp_path / "a", str(32 * MIB), 20 * MIB)
    group(tmp_path / "a" / "b", "max", 4 * MIB)
    assert ram(tmp_path, member(tmp_path, "0::/a/b")) == (32 * MIB, 12 * MIB)


def test_first_version_of_groups(tmp_path: Path) -> None:
    """The same under the older names, and no limit is a number beyond any machine."""
    folder = tmp_path / "memory" / "a"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text(str(64 * MIB))
    (folder / "memory.usage_in_bytes").write_text(str(24 * MIB))
    (folder.parent / "memory.limit_in_bytes").write_text(str(2**63 - 4096))
    (folder.parent / "memory.usage_in_bytes").write_text("5")
    assert ram(tmp_path, member(tmp_path, "9:memory:/a")) == (64 * MIB, 40 * MIB)


def test_own_memory_is_seen_and_a_dead_process_holds_none() -> None:
    """From the kernel's account of the process."""
    assert process_ram(os.getpid()) > MIB
    assert process_ram(GONE) == 0
    assert Host(Gpus(_no_library)).process_memory([os.getpid()])["ram"] > MIB


class Library:
    """NVML with two devices, written after its documentation: no GPU was at hand."""

    def __init__(self, status: int = 0) -> None:
        self._status = status

    def nvmlInit_v2(self) -> int:
        return self._status

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:
        count._obj.value = 2
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, handle: Any) -> int:
        handle._obj.value = index + 1
        return 0

    def nvmlDeviceGetName(self, handle: Any, name: Any, size: int) -> int:
        name.value = b"NVIDIA H200"
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle: Any, memory: Any) -> int:
        target: _Memory = memory._obj
        target.total, target.free = 1000 * handle.value, 400 * handle.value
        return 0

    def nvmlDeviceGetComputeRunningProcesses_v3(self, handle: Any, count: Any, room: Any) -> int:
        if handle.value == 2 and count._obj.value < 80:
            count._obj.value = 70
            return 7
        room[0] = _Process(pid=GONE, used=50 * handle.value)
        room[1] = _Process(pid=GONE + 1, used=2**64 - 1)
        count._obj.value = 2
        return 0


def _no_library(name: str) -> Any:
    raise OSError(name)


def test_gpus_are_devices_with_their_memory() -> None:
    """Each with its number, name and live memory."""
    devices = Host(Gpus(lambda name: Library())).devices()
    assert [device.id for device in devices] == ["ram", "gpu0", "gpu1"]
    assert [(d.name, d.total_bytes, d.free_bytes) for d in devices[1:]] == [
        ("NVIDIA H200", 1000, 400),
        ("NVIDIA H200", 2000, 800),
    ]


def test_process_memory_is_told_by_device_and_unknown_is_none() -> None:
    """More processes than fit the first answer are asked for again."""
    host = Host(Gpus(lambda name: Library()))
    assert host.process_memory([GONE]) == {"ram": 0, "gpu0": 50, "gpu1": 100}
    assert host.process_memory([GONE + 1]) == {"ram": 0}


@pytest.mark.parametrize("load", [_no_library, lambda name: Library(status=9)])
def test_host_without_a_working_driver_has_no_gpus(load: Any) -> None:
    """No library, or a driver that does not answer: RAM alone, and no error."""
    assert [device.id for device in Host(Gpus(load)).devices()] == ["ram"]


def test_layout_of_the_structures_is_nvmls() -> None:
    """Sizes as in nvml.h on 64 bits."""
    assert ctypes.sizeof(_Memory) == 24
    assert ctypes.sizeof(_Process) == 24
