"""How large a class may be, and where its test is."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.rules.sources import ROOT, listed, sources

MOST_METHODS = 20
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def methods_of_classes() -> Iterator[str]:
    """A class has at most 20 methods; one that needs more has two jobs."""
    known = listed("large_classes.txt")
    large = set()
    for source in sources():
        for each in source.classes():
            methods = [
                node
                for node in each.body
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            ]
            if len(methods) <= MOST_METHODS:
                continue
            name = f"{source.module}.{each.name}"
            large.add(name)
            if name not in known:
                yield f"{name} has {len(methods)} methods, {MOST_METHODS} are allowed"
    for name in sorted(known - large):
        yield f"large_classes.txt: {name} is not large any more; take it out"


def modules_have_tests() -> Iterator[str]:
    """A module x has a file test_x, or is on the list of those that others test."""
    known = listed("tested_by_others.txt")
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests").rglob("test_*.py")}
    without = {
        source.module
        for source in sources()
        if source.path.name not in ("__init__.py", "__main__.py") and source.path.stem not in tests
    }
    for name in sorted(without - known):
        yield f"{name} has no test_{name.rpartition('.')[2]}.py"
    for name in sorted(known - without):
        yield f"tested_by_others.txt: {name} has its own test now, or is gone; take it out"
