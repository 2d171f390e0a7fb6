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

from runnerd.models.gotemplates.syntax import parse
from runnerd.models.gotemplates.translation import until_response
from runnerd.models.gotemplates.tree import (
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
)

Variables = ChainMap[str, Any]  # the innermost loop's first

_MOST_STEPS = 100_000
_MOST_TEXT = 2**24  # characters
_ANY_NUMBER = 2**16  # more values than a template of ours can have

_FUNCTIONS: dict[str, tuple[Callable[..., Any], int, int]] = {
    # with how many values each is called, at least and at most
    "and": (lambda *all: next((each for each in all if not each), all[-1]), 1, _ANY_NUMBER),
    "or": (lambda *all: next((each for each in all if each), all[-1]), 1, _ANY_NUMBER),
    "not": (operator.not_, 1, 1),
    "eq": (lambda first, *others: first in others, 2, _ANY_NUMBER),
    "ne": (operator.ne, 2, 2),
    "lt": (operator.lt, 2, 2),
    "le": (operator.le, 2, 2),
    "gt": (operator.gt, 2, 2),
    "ge": (operator.ge, 2, 2),
    "len": (len, 1, 1),
    "slice": (lambda text, start, end=None: text[start:end], 2, 3),
    "index": (lambda values, place: values[place], 2, 2),
    "json": (lambda value: msgspec.json.encode(value).decode(), 1, 1),
    "currentDate": (lambda: datetime.datetime.now(datetime.UTC).date().isoformat(), 0, 0),
}


def render(source: str, values: Mapping[str, Any]) -> str:
    """The text that a template makes of values, up to where the response begins.

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
    function, least, most = _FUNCTIONS.get(name, (None, 0, 0))
    if function is None or not least <= len(values) <= most:
        raise TemplateError(f"the function {name} with {len(values)} values is not supported")
    return function(*values)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    return "" if value is None else msgspec.json.encode(value).decode()
