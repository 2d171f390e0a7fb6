"""Definitions that an engine would take for each other, under names that it can tell apart.

It makes a rule of what a reference means, and calls the rule after the reference, with `-` for all
but letters and digits: `a_b` and `a-b` have one rule, that of whichever comes first.  What lies in
a definition has rules, too, called after where it is: the property `b` of `a` has that of `a_b`.  A
response would then follow the wrong definition.  So one of two gets another name.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Any

_Schema = dict[str, Any]

_DEFINITIONS = ("$defs", "definitions")
_NO_NAME = re.compile(r"[^a-zA-Z0-9-]+")


def tell_rules_apart(made: _Schema, refs: Iterable[_Schema], at: str) -> list[_Schema]:
    """Rename definitions of `made`, and references to them, whose rules would be another's.

    `refs` are the nodes with references, which begin with `at`.  Those of them are returned that
    would mean something else and cannot be renamed: they lead into schemas, not to definitions.
    """
    nodes: dict[str, list[_Schema]] = {}
    for node in refs:
        if "$ref" in node:
            nodes.setdefault(node["$ref"][len(at) :], []).append(node)
    if len(nodes) < 2:
        return []
    by_rule: dict[str, list[str]] = {}
    for path in nodes:
        by_rule.setdefault(_rule(path), []).append(path)
    rules = sorted(by_rule)
    numbers = itertools.count()
    renamed: dict[str, str] = {}
    lost: list[_Schema] = []
    for rule, paths in by_rule.items():
        movable = [path for path in paths if _is_definition(path)]
        fixed = [path for path in paths if not _is_definition(path)]
        if movable and not fixed and not _has_others_within(rule, rules, paths):
            movable = movable[1:]
        for path in movable:
            renamed[path] = _free_name(made, path, rules, numbers)
        lost += [node for path in fixed[1:] for node in nodes[path]]
    _rename(made, renamed)
    for node in itertools.chain(*nodes.values()):
        _, *names = node["$ref"][len(at) :].split("/")
        if new := renamed.get("/" + "/".join(names[:2])):
            node["$ref"] = "/".join([at + new, *names[2:]])
    return lost


def _rule(path: str) -> str:
    return _NO_NAME.sub("-", path)


def _is_definition(path: str) -> bool:
    _, *names = path.split("/")
    return len(names) == 2 and names[0] in _DEFINITIONS


def _has_others_within(rule: str, rules: list[str], paths: list[str]) -> bool:
    """Whether another reference has a rule that something in this one may have; those that lead
    into this one have not.
    """
    inner = tuple(_rule(f"{path}/{word}/") for path in paths for word in _WITHIN)
    at = bisect_left(rules, f"{rule}-")
    while at < len(rules) and rules[at].startswith(f"{rule}-"):
        if not f"{rules[at]}-".startswith(inner):
            return True
        at += 1
    return False


_WITHIN = ("properties", "items", "prefixItems", "anyOf", "oneOf", "additionalProperties", "$defs")


def _free_name(made: _Schema, path: str, rules: list[str], numbers: Iterator[int]) -> str:
    """A path for a definition, whose rule nothing else has, and of which none begins."""
    _, holder, name = path.split("/")
    for number in numbers:
        new = f"/{holder}/{name}{number}"
        rule = _rule(new)
        at = bisect_left(rules, rule)
        taken = at < len(rules) and f"{rules[at]}-".startswith(f"{rule}-")
        if not taken and f"{name}{number}" not in made[holder]:
            rules.insert(at, rule)
            return new
    raise AssertionError("numbers end")


def _rename(made: _Schema, renamed: dict[str, str]) -> None:
    for holder in {path.split("/")[1] for path in renamed}:
        made[holder] = {
            renamed.get(f"/{holder}/{name}", name).rpartition("/")[2]: value
            for name, value in made[holder].items()
        }
