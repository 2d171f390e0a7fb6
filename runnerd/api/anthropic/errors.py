"""Errors in Anthropic's shape and words, which its SDKs turn into their exceptions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from runnerd import sse

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
}
_TOO_LONG = re.compile(r"request \((\d+) tokens\) exceeds the available context size \((\d+)")


class AnthropicErrors:
    """`{"type": "error", "error": {"type": ..., "message": ...}}`; in a stream an event `error`."""

    media_type = "application/json"
    id_header: bytes | None = b"request-id"

    def body(self, error: Mapping[str, Any], status: int) -> bytes:
        message, kind = error["message"], _KINDS.get(status, "api_error")
        if found := _TOO_LONG.search(message):  # clients look for these words, and shorten
            message = "prompt is too long: {} tokens > {} maximum".format(*found.groups())
        return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message}})

    def event(self, error: Mapping[str, Any]) -> bytes:
        return sse.encoded(self.body(error, 500), "error")


ANTHROPIC = AnthropicErrors()
