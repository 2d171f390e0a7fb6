"""A llama-server that runs here: its version, its options, and the tools that lie beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from runnerd.backends.llamacpp import places
from runnerd.errors import BackendFailure

FIT_TOOL_NAME = "llama-fit-params"
QUANTIZE_TOOL_NAME = "llama-quantize"

_WANTED = {
    "--slot-save-path": "conversations are not kept when a model makes room",
    "--cache-ram": "the memory for earlier prompts cannot be bounded",
    "--spec-type": "draft models may be loaded without being used",
    "--kv-unified": "each slot gets a fraction of the context",
}


@dataclass(frozen=True, slots=True)
class NativeServer:
    """A llama-server that runs: where it is, its version, the long options that it knows.

    `devices` are its names of this host's GPUs, `flags` what it needs to run here at all, `warning`
    what its owner should know.  `sound`: it has answered on this processor.  `variant` is which of
    its variants for many processors it picks here, as `haswell`, "" where it has one alone.
    """

    path: Path
    version: str
    options: frozenset[str]
    name: str = places.ON_PATH
    devices: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    warning: str = ""
    sound: bool = True
    variant: str = ""

    @property
    def words(self) -> str:
        """Which llama.cpp it is, for people."""
        return f"llama.cpp {self.version}{self.variant and f', its code for {self.variant}'}"

    @property
    def fit_tool(self) -> Path | None:
        """llama.cpp's own memory estimator, where it lies beside the server."""
        return self.tool(FIT_TOOL_NAME)

    @property
    def lacks(self) -> list[str]:
        """What cannot be done with this version, in words."""
        told = [f"{what} (no {name})" for name, what in _WANTED.items() if name not in self.options]
        if self.fit_tool is None:
            told.append(f"memory is estimated from headers (no {FIT_TOOL_NAME} beside it)")
        if self.tool(QUANTIZE_TOOL_NAME) is None:
            told.append(f"nothing is quantized (no {QUANTIZE_TOOL_NAME} beside it)")
        return told

    def tool(self, name: str) -> Path | None:
        """Return another program of llama.cpp: beside the server, or beside what it links to."""
        for folder in (self.path.parent, self.path.resolve().parent):
            if os.access(folder / name, os.X_OK):
                return folder / name
        return None


class UnfitEngine(BackendFailure):
    """A server that starts and whose code this processor does not run; `detail` is how it died."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail
