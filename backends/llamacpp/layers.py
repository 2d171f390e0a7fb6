"""Where the layers of a model lie, as its engine says while it loads.

A model that silently runs on the processor although there is a GPU is what people ask about most;
so it is one line of the daemon's log at each load.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from runnerd.backends.output import Output

log = logging.getLogger(__name__)

_OFFLOADED = re.compile(rb"offloaded (\d+)/(\d+) layers to GPU")
_BUFFER = re.compile(rb"(\S+) model buffer size =\s*([0-9.]+) MiB")
_LOADED = re.compile(rb"llama_context:|model loaded|listening on")
_MOST = 512 * 2**10


class LoadOutput(Output):
    """An engine's output; logs once where the model has come to lie."""

    def __init__(self, log_file: Path, name: str) -> None:
        super().__init__(log_file)
        self._name = name
        self._loading: bytearray | None = bytearray()

    def feed(self, data: bytes) -> None:
        super().feed(data)
        if self._loading is None:
            return
        searched = max(0, len(self._loading) - 64)
        self._loading += data
        if _LOADED.search(self._loading, searched) is None and len(self._loading) < _MOST:
            return
        said = where(bytes(self._loading))
        self._loading = None
        if said:
            log.info("runner %s: %s", self._name, said)


def where(output: bytes) -> str:
    """Return where the layers are, in words; nothing where the engine does not say."""
    sizes: dict[str, float] = {}
    for name, size in _BUFFER.findall(output):
        device = name.decode("ascii", "replace")
        sizes[device] = sizes.get(device, 0.0) + float(size)
    parts = [f"{size:.0f} MiB in {device}" for device, size in sizes.items()]
    if (layers := _OFFLOADED.search(output)) is not None:
        parts.insert(0, f"{int(layers[1])} of {int(layers[2])} layers are on the GPU")
    return ", ".join(parts)
