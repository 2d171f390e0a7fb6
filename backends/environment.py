"""What an engine's process finds in its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping

from runnerd.resources.gpus import DEVICE_ORDER

_INHERITED = frozenset({"PATH", "HOME", "LANG", "TMPDIR", "TZ"})
_INHERITED_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "HIP_", "ROCR_", "GGML_", "VK_", "ZE_", "SYCL_")


def child_environment(additions: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an engine's environment: an allow-list of ours, then `additions`.

    llama.cpp reads 150 options from LLAMA_ARG_*, and a secret in the environment is one in every
    core dump and /proc; so nothing passes that is not named here.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in _INHERITED or name.startswith(_INHERITED_PREFIXES)
    }
    environment.setdefault("PATH", os.defpath)
    for name, value in DEVICE_ORDER.items():
        environment.setdefault(name, value)
    environment["GGML_NO_BACKTRACE"] = "1"  # ggml attaches a debugger to itself when it aborts
    environment.update(additions or {})
    return environment
