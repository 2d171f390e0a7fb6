"""Messages that an engine evaluates before anybody asks, so that the first who does waits less.

The engine keeps what it evaluated in its prompt cache: a request that begins with the same
messages finds them there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runnerd.backends.asking import ask
from runnerd.errors import BackendFailure


async def evaluate(socket: Path, messages: Sequence[dict[str, Any]]) -> None:
    """Let the engine behind a Unix socket evaluate chat messages.

    Raises errors.BackendFailure with the engine's words.  Takes as long as the engine takes.
    """
    question = {"messages": messages, "max_tokens": 1, "cache_prompt": True}
    try:
        status, answer = await ask(socket, "/v1/chat/completions", question)
    except OSError as error:
        raise BackendFailure(f"the engine took no messages ({error})") from error
    if status != 200:
        words = answer[:500].decode("utf-8", "replace")
        raise BackendFailure(f"the engine refused the messages: {words or 'no answer'}")
