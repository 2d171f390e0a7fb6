"""How an API tells errors: each route, of relay and control plane, has one of these formats.

Other APIs' formats lie beside their dialects, in `api/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from runnerd import sse


class ErrorFormat(Protocol):
    """The form in which one API's clients read errors.  `error` is always OpenAI's object."""

    @property
    def media_type(self) -> str:
        """The Content-Type of a response that is an error."""
        ...

    @property
    def id_header(self) -> bytes | None:
        """The header by which clients know a request's id, beside X-Request-Id."""
        ...

    def body(self, error: Mapping[str, Any], status: int) -> bytes:
        """The body of a response that is an error."""
        ...

    def event(self, error: Mapping[str, Any]) -> bytes:
        """The bytes that tell an error inside a stream that has begun, wherever it broke off."""
        ...


class OpenAIErrors:
    """`{"error": {"message": ..., "type": ..., "param": ..., "code": ...}}`."""

    media_type = "application/json"
    id_header: bytes | None = None

    def body(self, error: Mapping[str, Any], status: int) -> bytes:
        return msgspec.json.encode({"error": error})

    def event(self, error: Mapping[str, Any]) -> bytes:
        return b"\n\n" + sse.encoded(self.body(error, 500))


OPENAI = OpenAIErrors()
"""The format of every route that declares no other one."""
