"""The host's memory: control groups from folders of a test, NVML with devices of a test."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from runnerd.resources import Host
from runnerd.resources.gpus import Gpus
from runnerd.resources.ram import process_ram, ram
from tests.support.nvml import nvml_with

COVERS = (
    "runnerd.resources.gpus",
    "runnerd.resources.ram",
)

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


FACTS = f"""gpu GPU-1a2b 90 1000 400 NVIDIA H200
gpu GPU-3c4d 89 2000 800 NVIDIA L40S
holds 0 {GONE} 50
holds 1 {GONE} 100
holds 1 {GONE + 1} -1
"""


@pytest.fixture
def nvml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], ModuleType | None]:
    """Put two GPUs of a test under the real binding."""
    return nvml_with(tmp_path, FACTS, monkeypatch)


def _no_library() -> None:
    return None


Load = Callable[[], ModuleType | None]


def test_gpus_are_devices_with_their_memory(nvml: Load) -> None:
    """Each with its number, name and live memory."""
    devices = Host(Gpus(nvml, {})).devices()
    assert [device.id for device in devices] == ["ram", "gpu0", "gpu1"]
    assert [(d.name, d.total_bytes, d.free_bytes) for d in devices[1:]] == [
        ("NVIDIA H200", 1000, 400),
        ("NVIDIA L40S", 2000, 800),
    ]


def test_compute_capability_is_told_as_cmake_writes_it(nvml: Load) -> None:
    """9.0 and 8.9: an engine is built for them."""
    assert Gpus(nvml, {}).architectures() == ["90", "89"]


def test_process_memory_is_told_by_device_and_unknown_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also among more processes than a first response may hold."""
    crowd = "".join(f"holds 1 {number} 7\n" for number in range(100, 170))
    host = Host(Gpus(nvml_with(tmp_path, FACTS + crowd, monkeypatch), {}))
    assert host.process_memory([GONE]) == {"ram": 0, "gpu0": 50, "gpu1": 100}
    assert host.process_memory([GONE + 1]) == {"ram": 0}


def test_device_that_does_not_answer_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU that fell off the bus takes nothing else with it, and the others keep their numbers."""
    lost = FACTS.replace("1000 400", "0 0")
    devices = Host(Gpus(nvml_with(tmp_path, lost, monkeypatch), {})).devices()
    assert [device.id for device in devices] == ["ram", "gpu1"]


@pytest.mark.parametrize(
    ("names", "totals"),
    [
        (None, [1000, 2000]),
        ("", []),
        ("-1", []),
        ("1", [2000]),
        ("1,0", [2000, 1000]),
        (" 1 , 0 ", [2000, 1000]),
        ("GPU-3c", [2000]),
        ("GPU-3c4d,GPU-1a2b", [2000, 1000]),
        ("0,7,1", [1000]),
        ("0,0", [1000]),
        ("GPU-", []),
        ("nonsense", []),
        ("\u0661", []),
    ],
)
def test_devices_are_those_that_an_engine_sees(
    nvml: Load, names: str | None, totals: list[int]
) -> None:
    """CUDA_VISIBLE_DEVICES hides and reorders, as it does for a CUDA program."""
    environment = {} if names is None else {"CUDA_VISIBLE_DEVICES": names}
    assert [gpu.total for gpu in Gpus(nvml, environment).devices()] == totals


def test_host_without_the_library_has_no_gpus() -> None:
    """RAM alone, and no error."""
    assert [device.id for device in Host(Gpus(_no_library)).devices()] == ["ram"]


def test_driver_that_does_not_answer_is_no_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The library is there and the kernel module is not, as after an update of the driver."""
    load = nvml_with(tmp_path, "init 9\n" + FACTS, monkeypatch)
    assert [device.id for device in Host(Gpus(load, {})).devices()] == ["ram"]
    assert "Driver Not Loaded" in caplog.text
