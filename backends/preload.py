"""What an engine evaluates before anybody asks, so that the first who does waits less.

The engine keeps what it evaluated in its prompt cache: a request that begins with the same
finds it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runnerd.backends.engine_http import ask
from runnerd.errors import BackendFailure


async def evaluate(socket: Path, *, messages: Sequence[dict[str, Any]], prefix: str) -> None:
    """Let the engine behind a Unix socket evaluate chat messages and a text, as far as there are
    some.

    Raises errors.BackendFailure with the engine's words.  Takes as long as the engine takes.
    """
    if prefix:
        await _evaluate(socket, "/v1/completions", {"prompt": prefix})
    if messages:
        await _evaluate(socket, "/v1/chat/completions", {"messages": messages})


async def _evaluate(socket: Path, path: str, question: dict[str, Any]) -> None:
    try:
        status, response = await ask(
            socket, path, question | {"max_tokens": 1, "cache_prompt": True}
        )
    except OSError as error:
        raise BackendFailure(f"the engine took nothing to preload ({error})") from error
    if status != 200:
        words = response[:500].decode("utf-8", "replace")
        raise BackendFailure(f"the engine refused what it was to preload: {words or 'no answer'}")
