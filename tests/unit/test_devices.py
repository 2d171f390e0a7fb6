"""Where a model is to lie, in the engine's words."""

from __future__ import annotations

from typing import Any

import pytest

from runnerd.backends.configuration import BackendConfiguration
from runnerd.backends.llamacpp.devices import listed_devices, placement_flags
from runnerd.errors import InvalidConfiguration

LISTED = """ggml_cuda_init: found 2 CUDA devices:
  Device 0: NVIDIA H200, compute capability 9.0, VMM: yes
Available devices:
  CUDA0: NVIDIA H200 (143771 MiB, 142983 MiB free)
  Vulkan1: NVIDIA H200 (143771 MiB, 142983 MiB free)
"""


def flags(**placement: Any) -> str:
    configuration = BackendConfiguration.model_validate({"placement": placement})
    return " ".join(placement_flags(configuration.placement, ("CUDA0", "CUDA1", "CUDA2")))


def test_names_are_read_from_the_list_alone() -> None:
    """What the engine says before it, and that there are none, is no device."""
    assert listed_devices(LISTED) == ("CUDA0", "Vulkan1")
    assert listed_devices("Available devices:\n  (none)\n") == ()


def test_flags() -> None:
    """Nothing is pinned that was not said; the main GPU is counted among those that are used."""
    assert placement_flags(None, ()) == []
    assert flags() == flags(devices="auto") == ""
    assert flags(devices="auto", layers=7, split="layer") == "--n-gpu-layers 7 --split-mode layer"
    assert flags(devices="cpu") == "--device none --n-gpu-layers 0"
    assert flags(devices=[2, 0], main=0) == "--device CUDA2,CUDA0 --main-gpu 1"
    assert flags(devices=[1, 2], shares=[0.5, 2]) == "--device CUDA1,CUDA2 --tensor-split 0.5,2"


def test_a_gpu_that_the_engine_does_not_see() -> None:
    """The message says which there are."""
    with pytest.raises(InvalidConfiguration, match=r"GPU 3.*CUDA0, CUDA1, CUDA2"):
        flags(devices=[3])


def test_another_placement_is_another_runner() -> None:
    """What changes the engine's flags changes the fingerprint; defaults leave it as it was."""
    plain = BackendConfiguration.model_validate({})
    assert plain.to_json() == {}
    placed = BackendConfiguration.model_validate({"placement": {"devices": [0]}, "parallel": 2})
    assert placed.to_json() == {"placement": {"devices": [0]}, "parallel": 2}
