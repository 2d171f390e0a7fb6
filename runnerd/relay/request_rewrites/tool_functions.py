"""What a tool of a request is: a function, in chats a level deeper than in the other APIs."""

from __future__ import annotations

from typing import Any


def function_of(tool: object) -> dict[str, Any] | None:
    """The function that a tool or a `tool_choice` describes; None where it has not that form."""
    function = tool.get("function", tool) if isinstance(tool, dict) else None
    return function if isinstance(function, dict) else None


def name_of(tool: object) -> str:
    """The name of a tool's function, "" where it has none."""
    name = (function_of(tool) or {}).get("name")
    return name if isinstance(name, str) else ""
