"""Errors as Docker Model Runner tells them on its own routes: one line of plain text.

Its client prints the body of a failure as it comes (`docker model rm`, `tag`, `configure`, ...), so
JSON would be what people read.  Inference below `/engines`, and `/engines/v1/models`, are asked by
OpenAI's clients and tell errors as those expect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class DockerErrors:
    """The message and a line break, as Go's `http.Error` writes them."""

    media_type = "text/plain; charset=utf-8"
    id_header: bytes | None = None

    def body(self, error: Mapping[str, Any], status: int) -> bytes:
        return f"{error['message']}\n".encode()

    def event(self, error: Mapping[str, Any]) -> bytes:
        return self.body(error, 500)


DOCKER = DockerErrors()
