"""References within a schema: what they point at, and those that lead to nothing but themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import unquote

DEEPEST = 64
"""So deep may schemas lie in each other, and twice as many steps may a reference have."""

NOTHING = object()
"""What a reference means that leads nowhere."""

_END: dict[str, Any] = {}
_HOLDERS = frozenset({"properties", "$defs", "definitions"})  # of schemas by their names
_LISTS = frozenset({"anyOf", "oneOf", "items", "prefixItems"})
_SCHEMAS = frozenset({"items", "prefixItems", "additionalProperties"})
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")  # each place has one name


def path_of(root: Any, ref: str) -> tuple[str, ...] | None:
    """The names that lead to what a reference into the same document means, however it is written.

    None where it leads nowhere.
    """
    if isinstance(root, dict) and isinstance(own := root.get("$id"), str) and own:
        ref = ref.removeprefix(own.removesuffix("#")) or "#"
    if not ref.startswith("#"):
        return None
    first, *names = ref[1:].split("/")
    path = tuple(unquote(name).replace("~1", "/").replace("~0", "~") for name in names)
    return None if first or at_path(root, path) is NOTHING else path


def meant_by(root: Any, ref: str) -> Any:
    """What a reference into the same document means; NOTHING where there is none."""
    path = path_of(root, ref)
    return NOTHING if path is None else at_path(root, path)


def is_found_by_engine(root: Any, path: tuple[str, ...]) -> bool:
    """Whether the engine finds what a path leads to, in words that it knows: a schema that lies in
    schemas alone, under names that can stand in a reference as they are.
    """
    if not path or any(set("/~%") & set(name) for name in path):
        return False
    names = iter(path)
    node = root
    for name in names:
        holder = node.get(name) if isinstance(node, dict) else None
        if isinstance(holder, dict) and name in _HOLDERS:
            inner = next(names, None)
            node = holder.get(inner) if inner is not None else None
        elif isinstance(holder, list) and name in _LISTS:
            inner = next(names, None)
            node = holder[int(inner)] if inner is not None else None
        elif isinstance(holder, dict) and name in _SCHEMAS:
            node = holder
        else:
            return False
    return isinstance(node, dict)


def found_by_engine(made: Any, path: str) -> dict[str, Any] | None:
    """The schema that the engine finds at a path, which it takes as it is written.

    None where it finds none.
    """
    first, *names = path.split("/")
    found = NOTHING if first else at_path(made, names)
    return found if isinstance(found, dict) else None


def at_path(node: Any, names: Sequence[str]) -> Any:
    """What lies behind these names; NOTHING where they lead nowhere."""
    if len(names) > 2 * DEEPEST:
        return NOTHING
    for name in names:
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
