"""What is built on a host, and the sentence that says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from runnerd.backends.llamacpp.building.choice import EngineRequest, choose
from runnerd.backends.llamacpp.hardware import Hardware, Kind
from runnerd.errors import BackendFailure

NVCC = Path("/opt/cuda/bin/nvcc")


def test_the_host_decides_where_nobody_does() -> None:
    """For the card whose toolkit is here, whose compiler CMake is told of."""
    found = choose(EngineRequest(), Hardware(nvidia=("H100",), nvcc=NVCC))
    assert (found.name, found.kind) == ("cuda", "cuda")
    assert str(NVCC) in found.sentence
    assert found.plan.options == ("-DGGML_CUDA=ON",)
    assert found.plan.environment == {"CUDACXX": str(NVCC)}


def test_a_card_that_is_left_alone_is_told() -> None:
    """With what to install; not to whoever asked for the processor."""
    hardware = Hardware(nvidia=("H100",))
    assert "nvidia-cuda-toolkit" in choose(EngineRequest(), hardware).sentence
    asked = choose(EngineRequest(kind="cpu"), hardware)
    assert asked.sentence == "building for the processor"
    assert asked.plan.options == ()


@pytest.mark.parametrize("kind", ["cuda", "rocm", "vulkan"])
def test_a_toolkit_that_is_missing_is_named(kind: Kind) -> None:
    """Before anything is fetched or built."""
    with pytest.raises(BackendFailure, match=f"--with {kind} needs .*apt install"):
        choose(EngineRequest(kind=kind), Hardware())


def test_engines_for_many_hosts_have_names_of_their_own() -> None:
    """So that one does not take the place of the one for this processor."""
    assert choose(EngineRequest(kind="cpu", portable=True), Hardware()).name == "portable"
    many = choose(EngineRequest(kind="cuda", portable=True), Hardware(nvcc=NVCC))
    assert many.name == "cuda-portable"
    assert many.plan.portable


def test_rocms_own_compiler_is_used_where_it_has_one(tmp_path: Path) -> None:
    """ROCm lies in one folder, wherever that is; Debian's has no clang of its own."""
    hipcc = tmp_path / "bin" / "hipcc"
    hipcc.parent.mkdir()
    hipcc.touch()
    hardware = Hardware(amd=("MI300",), hipcc=hipcc)
    root = str(tmp_path.resolve())
    found = choose(EngineRequest(), hardware).plan.environment
    assert found == {"ROCM_PATH": root, "HIP_PATH": root}
    clang = tmp_path / "llvm" / "bin" / "clang++"
    clang.parent.mkdir(parents=True)
    clang.touch()
    assert choose(EngineRequest(), hardware).plan.environment["HIPCXX"] == str(clang.resolve())


def test_when_any_engine_will_do() -> None:
    """Whoever says what it should be does not get another one, however good it is."""
    assert EngineRequest(found=True, jobs=4).open
    assert not EngineRequest(found=True, portable=True).open
    assert not EngineRequest(kind="cpu").open
