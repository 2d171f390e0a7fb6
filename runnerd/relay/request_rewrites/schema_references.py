"""References within a schema: what they point at, and those that lead to nothing but themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import unquote

DEEPEST = 64
"""So deep may schemas lie in each other, and twice as many steps may a reference have."""

NOTHING = object()
"""What a reference means that leads nowhere."""

_END: dict[str, Any] = {}
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")  # each place has one name


def meant_by(root: Any, ref: str) -> Any:
    """What a reference into the same document means; NOTHING where there is none."""
    if not ref.startswith("#"):
        return NOTHING
    if ref == "#":
        return root
    return _steps(root, ref[1:], lambda name: unquote(name).replace("~1", "/").replace("~0", "~"))


def found_by_engine(made: Any, path: str) -> dict[str, Any] | None:
    """The schema that the engine finds at a path, which it takes as it is written.

    None where it finds none.
    """
    found = _steps(made, path, lambda name: name) if path else made
    return found if isinstance(found, dict) else None


def _steps(node: Any, path: str, read: Callable[[str], str]) -> Any:
    first, *names = path.split("/")
    if first or len(names) > 2 * DEEPEST:
        return NOTHING
    for name in map(read, names):
        if isinstance(node, dict) and name in node:
            node = node[name]
        elif isinstance(node, list) and _INDEX.fullmatch(name) and int(name) < len(node):
            node = node[int(name)]
        else:
            return NOTHING
    return node


def circular(
    refs: Iterable[dict[str, Any]], target_of: Callable[[str], Any]
) -> Iterator[dict[str, Any]]:
    """Yield the nodes of `refs` by which references mean nothing but themselves.

    No grammar can be made of such a circle; who widens each node that comes has broken all of them.
    `target_of` is what a reference leads to.
    """
    within: dict[str, list[dict[str, Any]]] = {}
    for node in refs:
        if "$ref" in node and node["$ref"] not in within:
            within[node["$ref"]] = list(_at_once(target_of(node["$ref"])))
    done: set[str] = set()
    for start in within:
        path = {} if start in done else {start: iter(within[start])}
        while path:
            name = next(reversed(path))
            node = next(path[name], _END)
            if node is _END:
                done.add(name)
                del path[name]
            elif (ref := node.get("$ref")) in path:
                yield node
            elif ref is not None and ref not in done:
                path[ref] = iter(within.get(ref, []))


def _at_once(node: Any) -> Iterator[dict[str, Any]]:
    """Yield the references that a schema is, or may be, without anything around them."""
    todo = [node]
    while todo:
        each = todo.pop()
        if isinstance(each, dict):
            if "$ref" in each:
                yield each
            else:
                todo += [*listed(each.get("anyOf")), *listed(each.get("oneOf"))]


def listed(value: Any) -> list[Any]:
    """A member that may be a list or one value of it, as a list."""
    return value if isinstance(value, list) else [] if value is None else [value]
