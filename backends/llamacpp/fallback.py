"""The engine where no native server is: `llama_cpp.server` in a Python child, and what it lacks.

It takes one request at a time and offers a part of the native server's routes; what it lacks is
said with the remedy, never half done.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from runnerd.backends.configuration import BackendMode
from runnerd.backends.llamacpp.command import Launch, context_tokens
from runnerd.backends.llamacpp.flags import parse_flags
from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.errors import NotSupported

_SCRIPT = Path(__file__).with_name("python_server.py")
INSTALL_NATIVE = "install the native server: runnerd install llama.cpp"
NO_DRAFTS = f"speculative decoding needs the native server; {INSTALL_NATIVE}"
INSTALL_FALLBACK = "install llama-cpp-python's server: pip install 'runnerd[python-engine]'"
_OFFERED = {
    BackendMode.COMPLETION: frozenset({"chat/completions", "completions"}),
    BackendMode.EMBEDDING: frozenset({"embeddings"}),
}
_ALWAYS = frozenset({"", "health", "models"})


def _layers(value: str) -> object:
    return -1 if value in ("all", "auto") else int(value)


def _numbers(value: str) -> object:
    return [float(part) for part in value.split(",")]


def _on(value: str) -> object:
    return value == "on"


_PACKAGES = ("llama_cpp", "uvicorn", "fastapi", "sse_starlette")
# Flags that llama_cpp.server has a setting for.  A switch maps to the value that it sets.
_SETTINGS: dict[str, tuple[str, Callable[[str], object] | bool]] = {
    "--threads": ("n_threads", int),
    "--threads-batch": ("n_threads_batch", int),
    "--batch-size": ("n_batch", int),
    "--ubatch-size": ("n_ubatch", int),
    "--n-gpu-layers": ("n_gpu_layers", _layers),
    "--main-gpu": ("main_gpu", int),
    "--tensor-split": ("tensor_split", _numbers),
    "--flash-attn": ("flash_attn", _on),
    "--seed": ("seed", int),
    "--rope-freq-base": ("rope_freq_base", float),
    "--rope-freq-scale": ("rope_freq_scale", float),
    "--mlock": ("use_mlock", True),
    "--mmap": ("use_mmap", True),
    "--no-mmap": ("use_mmap", False),
    "--kv-offload": ("offload_kqv", True),
    "--no-kv-offload": ("offload_kqv", False),
}


def has_packages() -> bool:
    """Whether the packages are here that the fallback consists of.

    Python also finds what `pip uninstall` left of one, a folder without code: that has no origin.
    """
    return all(map(_origin, _PACKAGES))


def _origin(package: str) -> str | None:
    spec = importlib.util.find_spec(package)
    return None if spec is None else spec.origin


class Fallback:
    """Knows whether the fallback exists here, what it offers and how it is started."""

    @cached_property
    def available(self) -> bool:
        return has_packages()

    @cached_property
    def reads(self) -> tuple[Path, ...]:
        """The files that the child's code begins in: a user who cannot read one cannot run it."""
        return (_SCRIPT, *(Path(origin) for origin in map(_origin, _PACKAGES) if origin))

    @property
    def version(self) -> str:
        try:
            return importlib.metadata.version("llama-cpp-python")
        except importlib.metadata.PackageNotFoundError:
            return "unknown"

    @property
    def words(self) -> str:
        """Which engine it is, for people."""
        return f"llama-cpp-python {self.version}"

    def unsupported_reason(self, operation: str, mode: BackendMode) -> str | None:
        """Return why the fallback cannot do `operation` ("" for: run at all) in `mode`, or None."""
        offered = _OFFERED.get(mode)
        if offered is None:
            return f"llama-cpp-python's server does not do {mode.value}: {INSTALL_NATIVE}"
        if operation in _ALWAYS or operation in offered:
            return None
        return f"llama-cpp-python's server does not offer {operation} here: {INSTALL_NATIVE}"

    def command(self, launch: Launch, settings: LlamaCppSettings) -> list[str]:
        """Return the child's argv.

        Raises errors.NotSupported for a configuration that only the native server can carry out.
        """
        if launch.configuration.speculative is not None:
            raise NotSupported(NO_DRAFTS)
        if len(launch.files.adapters) > 1:
            raise NotSupported(f"more than one adapter needs the native server; {INSTALL_NATIVE}")
        if launch.configuration.placement is not None:
            raise NotSupported(
                f"placing a model on devices needs the native server; {INSTALL_NATIVE}"
            )
        if launch.configuration.isolate_users:
            raise NotSupported(f"isolate_users needs the native server; {INSTALL_NATIVE}")
        context = context_tokens(launch.files, launch.configuration, settings)
        model: dict[str, object] = {
            "model": str(launch.files.weights),
            "model_alias": launch.model_ref,
            "n_ctx": context,
            "embedding": launch.mode is BackendMode.EMBEDDING,
            "use_mlock": False,
            "logits_all": False,  # else it allocates context times vocabulary floats at once
        }
        if launch.mode is BackendMode.EMBEDDING and context:
            model |= {"n_batch": context, "n_ubatch": context}
        if launch.files.adapters:
            model["lora_path"] = str(launch.files.adapters[0])
        model |= _flag_settings(parse_flags(launch.configuration.runtime_flags))
        template = launch.files.chat_template
        plan = {
            "socket": str(launch.socket),
            "chat_template": None if template is None else str(template),
            "model": model,
        }
        # -I: neither the working directory nor PYTHON* variables have a say in what is imported.
        return [sys.executable, "-I", str(_SCRIPT), json.dumps(plan)]


def _flag_settings(tokens: list[str]) -> dict[str, object]:
    """Return canonical flags as settings of llama_cpp.server.  Raises errors.NotSupported."""
    settings: dict[str, object] = {}
    rest = list(reversed(tokens))
    while rest:
        name = rest.pop()
        if name not in _SETTINGS:
            raise NotSupported(f"runtime flag {name} needs the native server; {INSTALL_NATIVE}")
        key, value = _SETTINGS[name]
        settings[key] = value if isinstance(value, bool) else value(rest.pop())
    return settings
