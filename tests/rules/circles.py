"""No module imports itself by way of others, whatever the import is for.

Import contracts hold rooms apart; inside a room only this looks.  Imports that only types need and
those inside functions count: a circle that is hidden from Python is one to read all the same.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from tests.rules.sources import Source, sources


def circles() -> Iterator[str]:
    """Modules do not import each other in a circle."""
    names = {source.module for source in sources()}
    graph = {source.module: imported(source, names) for source in sources()}
    for circle in _components(graph):
        yield f"modules import each other in a circle: {', '.join(sorted(circle))}"


def imported(source: Source, names: set[str]) -> set[str]:
    """The modules, of those in `names`, that a source imports anywhere."""
    found = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & names) or {node.module}
    return (found & names) - {source.module}


def _components(graph: Mapping[str, set[str]]) -> Iterator[set[str]]:
    """Sets of more than one module of which each is reached from each other (Kosaraju)."""
    order: list[str] = []
    seen: set[str] = set()
    for name in graph:
        order += _reached(name, graph, seen)
    backwards: dict[str, set[str]] = {name: set() for name in graph}
    for name, others in graph.items():
        for other in others:
            backwards[other].add(name)
    seen = set()
    for name in reversed(order):
        component = set(_reached(name, backwards, seen))
        if len(component) > 1:
            yield component


def _reached(start: str, graph: Mapping[str, set[str]], seen: set[str]) -> list[str]:
    """What is reached from `start` and was not seen before; each after all that it leads to."""
    if start in seen:
        return []
    seen.add(start)
    done: list[str] = []
    path = [(start, iter(graph[start]))]
    while path:
        name, others = path[-1]
        for other in others:
            if other not in seen:
                seen.add(other)
                path.append((other, iter(graph[other])))
                break
        else:
            path.pop()
            done.append(name)
    return done
