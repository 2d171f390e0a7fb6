"""Text files are read and written in an encoding that is named: whatever the locale is."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.rules.sources import sources

# Calls that take the locale's encoding when none is named, and how many arguments stand before it.
_BEFORE_ENCODING = {"read_text": 0, "write_text": 1}
_OPENS = {"open", "fdopen", "NamedTemporaryFile", "TemporaryFile", "TextIOWrapper"}
_STARTS = {"run", "Popen", "check_output"}


def named_encodings() -> Iterator[str]:
    """Under a locale of another encoding the same bytes would be another text, or none."""
    for source in sources():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and _guesses(node):
                yield f"{source.path}:{node.lineno}: takes its encoding from the locale; name one"


def _guesses(call: ast.Call) -> bool:
    name = _name(call.func)
    named = {keyword.arg for keyword in call.keywords}
    if "encoding" in named or None in named:
        return False
    if name in _BEFORE_ENCODING:
        return isinstance(call.func, ast.Attribute) and len(call.args) <= _BEFORE_ENCODING[name]
    if name in _STARTS:
        return bool(named & {"text", "universal_newlines"})
    if name == "TextIOWrapper":
        return len(call.args) < 2
    return name in _OPENS and _is_text(call, name)


def _is_text(call: ast.Call, name: str) -> bool:
    """Whether a call opens a file as text; many other things have a method `open`."""
    modes = [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    if isinstance(call.func, ast.Name) or name == "fdopen":
        modes += call.args[1:2]
        return all(_is_text_mode(mode) for mode in modes)
    if name == "open":
        modes += call.args[:1]
    return any(_is_text_mode(mode) for mode in modes)


def _is_text_mode(mode: ast.expr) -> bool:
    text = mode.value if isinstance(mode, ast.Constant) else None
    return isinstance(text, str) and bool(text) and set(text) <= set("rwaxt+")


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
