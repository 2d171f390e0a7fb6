"""The daemon's own modules, as text and as syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FOLDERS = ("runnerd", "backends", "sockets")  # the links inside runnerd/ are not followed


@dataclass(frozen=True)
class Source:
    """One file of Python.  `path` is relative to the repository's root."""

    path: Path

    @cached_property
    def text(self) -> str:
        """The file's text."""
        return (ROOT / self.path).read_text()

    @cached_property
    def tree(self) -> ast.Module:
        """The file's syntax tree."""
        return ast.parse(self.text)

    @property
    def module(self) -> str:
        """The name that it is imported by."""
        parts = self.path.with_suffix("").parts
        parts = parts if parts[0] == "runnerd" else ("runnerd", *parts)
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def classes(self) -> Iterator[ast.ClassDef]:
        """Every class in it."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ClassDef):
                yield node


@cache
def sources() -> tuple[Source, ...]:
    """Every module of the daemon."""
    found = []
    for folder in _FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            relative = path.relative_to(ROOT)
            if not any((ROOT / parent).is_symlink() for parent in relative.parents):
                found.append(Source(relative))
    return tuple(found)


def listed(name: str) -> set[str]:
    """The entries of a list beside the rules: one a line, `#` begins a comment."""
    lines = (Path(__file__).parent / name).read_text().splitlines()
    return {line for raw in lines if (line := raw.partition("#")[0].strip())}
