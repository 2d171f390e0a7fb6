"""What llama.cpp calls the devices of this host, and the flags that put a model on some of them.

Its names depend on how it was built (CUDA0, ROCm0, Vulkan0), so it is asked.  GPUs are numbered in
the order in which it lists them.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from runnerd.backends.configuration import BackendConfiguration
from runnerd.backends.placement import Placement
from runnerd.errors import InvalidConfiguration

PLACING = frozenset({
    "--device", "--n-gpu-layers", "--split-mode", "--tensor-split", "--main-gpu",
})  # fmt: skip

_NAMING = frozenset({
    "--device", "--mmproj-device", "--spec-draft-device", "--override-tensor",
    "--spec-draft-override-tensor",
})  # fmt: skip

_LISTED = re.compile(r"^\s+([A-Za-z][A-Za-z0-9_]{0,31}):\s", re.MULTILINE)


def listed_devices(output: str) -> tuple[str, ...]:
    """Return the names in the output of `llama-server --list-devices`."""
    return tuple(_LISTED.findall(output.partition("Available devices:")[2]))


def placement_flags(placement: Placement | None, devices: Sequence[str]) -> list[str]:
    """Return the engine's flags; `devices` are its names of the GPUs.

    Raises errors.InvalidConfiguration for a GPU that the engine does not see.
    """
    if placement is None:
        return []
    if placement.devices == "cpu":
        return ["--device", "none", "--n-gpu-layers", "0"]
    flags: list[str] = []
    if isinstance(placement.devices, tuple):
        flags += ["--device", ",".join(_name(number, devices) for number in placement.devices)]
        if placement.main is not None:
            flags += ["--main-gpu", str(placement.devices.index(placement.main))]
    if placement.layers is not None:
        flags += ["--n-gpu-layers", str(placement.layers)]
    if placement.split is not None:
        flags += ["--split-mode", placement.split]
    if placement.shares:
        flags += ["--tensor-split", ",".join(f"{share:g}" for share in placement.shares)]
    return flags


def check_placement(configuration: BackendConfiguration, flags: Sequence[str]) -> None:
    """Raise errors.InvalidConfiguration where `flags`, canonical, say again what has a field."""
    said = PLACING & set(flags) if configuration.placement is not None else frozenset[str]()
    if said:
        raise InvalidConfiguration(
            f"placement and the runtime flag {min(said)} say the same thing; set one of them",
            param="placement",
        )
    if configuration.parallel is not None and "--parallel" in flags:
        raise InvalidConfiguration(
            "parallel and the runtime flag --parallel say the same thing; set one of them",
            param="parallel",
        )


def check_devices(flags: Sequence[str], devices: Sequence[str]) -> None:
    """Raise errors.InvalidConfiguration where canonical `flags` name none of the engine's devices.

    Of --override-tensor's buffers each device has one of its name, and so has the processor.
    """
    for name, value in itertools.pairwise(flags):
        if name not in _NAMING:
            continue
        named = value.split(",")
        if "override-tensor" in name:
            named = [part.rpartition("=")[2] for part in named]
        known = {*devices, "CPU", "none"}
        if strange := next((device for device in named if device not in known), None):
            raise InvalidConfiguration(
                f"runtime flag {name}: llama.cpp has no device {strange} here; there is: "
                + ", ".join([*devices, "CPU"]),
                param="runtime-flags",
            )


def _name(number: int, devices: Sequence[str]) -> str:
    if number >= len(devices):
        seen = ", ".join(devices) or "none"
        raise InvalidConfiguration(
            f"placement names GPU {number}, and llama.cpp sees these: {seen}; change the model's "
            "placement (`_configure`), or install a llama.cpp that is built for this GPU",
            param="placement",
        )
    return devices[number]
