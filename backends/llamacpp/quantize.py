"""Making weights smaller with llama.cpp's own tool, which lies beside its server."""

from __future__ import annotations

import logging
from pathlib import Path

from runnerd import threads
from runnerd.backends.commands import run_command
from runnerd.backends.llamacpp.failure import last_lines
from runnerd.backends.llamacpp.server import ServerFinder
from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.errors import BackendFailure, ClientError, NotSupported

log = logging.getLogger(__name__)

TOOL_NAME = "llama-quantize"

KINDS = frozenset({
    "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S",
    "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4_MOE", "F16", "BF16",
})  # fmt: skip
"""Those that need no further file."""

_TIMEOUT = 6 * 3600.0


class Quantizer:
    """Runs the tool, one process for each call."""

    def __init__(self, finder: ServerFinder, settings: LlamaCppSettings) -> None:
        self._finder = finder
        self._settings = settings

    async def quantize(self, source: Path, target: Path, kind: str) -> None:
        """Write `target`; see `interface.Quantizing`."""
        kind = kind.upper()
        if kind not in KINDS:
            raise ClientError(
                f"quantize: {kind[:40]!r} is none of {', '.join(sorted(KINDS))}", param="quantize"
            )
        server = await self._finder.find()
        tool = None if server is None else server.tool(TOOL_NAME)
        if tool is None:
            raise NotSupported(
                f"there is no {TOOL_NAME} beside the engine: `runnerd install llama.cpp` builds"
                " one; or quantize the file before it is sent"
            )
        thread_count = [str(self._settings.threads)] if self._settings.threads else []
        # It may write this file and make no other.
        await threads.run(target.touch, mode=0o600)
        async with self._finder.isolation.of(
            tool, reads=[source], writes=[target], devices=False
        ) as sandbox:
            result = await run_command(
                [str(tool), str(source), str(target), kind, *thread_count],
                timeout=_TIMEOUT,
                environment=self._finder.environment(),
                sandbox=sandbox,
            )
        if result.code != 0:
            words = result.output.strip().splitlines()
            cause = next((line for line in words if "failed" in line), "it said nothing")
            log.warning("%s: %s", TOOL_NAME, last_lines(result.output))
            raise BackendFailure(f"{TOOL_NAME} failed ({result.reason}): {cause[-200:]}")
