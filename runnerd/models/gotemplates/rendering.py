"""A Go template carried out here: for the one that a single request brings along.

It comes from the network, so its steps and its text are bounded, and it sees nothing but the plain
values that it is given.
"""

from __future__ import annotations

import datetime
import operator
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from runnerd.models.gotemplates.syntax import (
    Assignment,
    Call,
    Expression,
    Field,
    If,
    Literal,
    Node,
    Output,
    Range,
    TemplateError,
    Text,
    parse,
)
from runnerd.models.gotemplates.translation import until_response

Variables = ChainMap[str, Any]  # the innermost loop's first

_MOST_STEPS = 100_000
_MOST_TEXT = 2**24  # characters
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}


def render(source: str, values: Mapping[str, Any]) -> str:
    """Return what a template makes of values, up to where the response begins.

    Raises TemplateError.
    """
    nodes, _ = until_response(parse(source))
    writer = _Renderer(values)
    try:
        writer.nodes(nodes, values, ChainMap())
    except (TypeError, IndexError, RecursionError) as error:
        raise TemplateError(f"it cannot be carried out: {error}") from error
    return "".join(writer.parts)


class _Renderer:
    """Collects the text of one rendering."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.parts: list[str] = []
        self._root = root
        self._steps = 0
        self._length = 0

    def nodes(self, nodes: Sequence[Node], dot: Any, variables: Variables) -> None:
        for node in nodes:
            self._steps += 1
            if self._steps > _MOST_STEPS:
                raise TemplateError(f"it takes more than {_MOST_STEPS} steps")
            match node:
                case Text(text):
                    self._add(text)
                case Output(value):
                    self._add(_shown(self._value(value, dot, variables)))
                case Assignment(name, value):
                    known = next((each for each in variables.maps if name in each), variables)
                    known[name] = self._value(value, dot, variables)
                case If(condition, body, otherwise):
                    chosen = body if self._value(condition, dot, variables) else otherwise
                    self.nodes(chosen, dot, variables)
                case Range(names, value, body):
                    for index, item in enumerate(self._value(value, dot, variables) or ()):
                        pair = (item,) if len(names) == 1 else (index, item)
                        inner = dict(zip(names, pair, strict=False))
                        self.nodes(body, item, variables.new_child(inner))

    def _add(self, text: str) -> None:
        self._length += len(text)
        if self._length > _MOST_TEXT:
            raise TemplateError(f"it makes more than {_MOST_TEXT} characters")
        self.parts.append(text)

    def _value(self, expression: Expression, dot: Any, variables: Variables) -> Any:
        match expression:
            case Literal(value):
                return value
            case Field(base, path):
                return self._member(base, path, dot, variables)
            case Call(name, arguments):
                return _called(name, [self._value(each, dot, variables) for each in arguments])

    def _member(
        self, base: str | Expression, path: tuple[str, ...], dot: Any, variables: Variables
    ) -> Any:
        if base == "":
            value = dot
        elif base == "$":
            value = self._root
        elif isinstance(base, str):
            if base not in variables:
                raise TemplateError(f"the variable {base} is not set")
            value = variables[base]
        else:
            value = self._value(base, dot, variables)
        for name in path:
            if not isinstance(value, Mapping) or name not in value:
                raise TemplateError(f".{name} is not there")
            value = value[name]
        return value


def _called(name: str, values: list[Any]) -> Any:
    match name, values:
        case "and", [_, *_]:
            return next((value for value in values if not value), values[-1])
        case "or", [_, *_]:
            return next((value for value in values if value), values[-1])
        case "not", [value]:
            return not value
        case "eq", [first, _, *_]:
            return first in values[1:]
        case (("ne" | "lt" | "le" | "gt" | "ge"), [first, second]):
            return _COMPARISONS[name](first, second)
        case "len", [value]:
            return len(value)
        case "slice", [value, start, *ends] if len(ends) < 2:
            return value[start : ends[0] if ends else None]
        case "index", [value, place]:
            return value[place]
        case "json", [value]:
            return msgspec.json.encode(value).decode()
        case "currentDate", []:
            return datetime.datetime.now(datetime.UTC).date().isoformat()
    raise TemplateError(f"the function {name} with {len(values)} values is not supported")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    return "" if value is None else msgspec.json.encode(value).decode()
