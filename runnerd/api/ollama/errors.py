"""Errors as Ollama tells them: `{"error": "..."}`, a line of its own in a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runnerd.api.ollama.responses import line


class OllamaErrors:
    """An object with nothing but the message, because clients look into it."""

    media_type = "application/json"
    id_header: bytes | None = None

    def body(self, error: Mapping[str, Any], status: int) -> bytes:
        return line({"error": error["message"]})

    def event(self, error: Mapping[str, Any]) -> bytes:
        return line({"error": error["message"]})


OLLAMA = OllamaErrors()

FAMILY = "/api/"
"""What all of Ollama's paths begin with."""
