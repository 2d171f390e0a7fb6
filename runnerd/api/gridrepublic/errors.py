"""Errors as GridRepublic tells them: `{"success": false, "error": "..."}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class GridRepublicErrors:
    """A sentence; the status is HTTP's own."""

    media_type = "application/json"
    id_header: bytes | None = None

    def body(self, error: Mapping[str, Any], status: int) -> bytes:
        return msgspec.json.encode({"success": False, "error": error["message"]})

    def event(self, error: Mapping[str, Any]) -> bytes:
        return self.body(error, 500)


GRIDREPUBLIC = GridRepublicErrors()
