"""Go's template language as a tree: text, and actions between double braces.

The part of it that chat templates use: output, `if`, `range`, variables, fields, calls, pipes, and
the dashes that trim white space.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from runnerd.models.gotemplates.expressions import DEEPEST, Expressions
from runnerd.models.gotemplates.tree import (
    Assignment,
    Expression,
    If,
    Node,
    Output,
    Range,
    TemplateError,
    Text,
)

LONGEST = 2**18
"""Characters of a template."""

_PIECE = re.compile(r'"(?:[^"\\\n]|\\.)*"|`[^`]*`|\}\}|[^"`}]+|\}')  # of an action, quotes whole


def parse(source: str) -> tuple[Node, ...]:
    """Return the tree of a template.  Raises TemplateError."""
    if len(source) > LONGEST:
        raise TemplateError(f"it has more than {LONGEST} characters")
    return _Reader(source).template()


@dataclass(slots=True)
class _Frame:
    """A block that is open: `if`, `else if` (closed with its parent), or `range`."""

    kind: str
    head: list[Expression]
    names: tuple[str, ...] = ()
    body: list[Node] = field(default_factory=list)
    otherwise: list[Node] | None = None

    @property
    def current(self) -> list[Node]:
        return self.body if self.otherwise is None else self.otherwise


class _Reader:
    """Reads the pieces of a template in order, with a stack of open blocks."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._stack = [_Frame("template", [])]

    def template(self) -> tuple[Node, ...]:
        for text, action in _pieces(self._source):
            if text:
                self._add(Text(text))
            if action:
                self._action(action)
        if len(self._stack) > 1:
            raise TemplateError(f"{{{{ {self._stack[-1].kind} }}}} has no end")
        return tuple(self._stack[0].body)

    def _add(self, node: Node) -> None:
        self._stack[-1].current.append(node)

    def _action(self, action: str) -> None:
        word, _, rest = action.partition(" ")
        if word in ("if", "range"):
            self._open(word, rest)
        elif word == "else":
            self._else(rest.strip())
        elif action == "end":
            self._end()
        elif word in ("with", "define", "template", "block", "break", "continue"):
            raise TemplateError(f"{{{{ {word} }}}} is not supported")
        else:
            names, value = Expressions(action).statement()
            if len(names) > 1:
                raise TemplateError(f"{{{{ {action[:60]} }}}} sets two variables")
            self._add(Assignment(names[0], value) if names else Output(value))

    def _open(self, kind: str, rest: str) -> None:
        names, value = Expressions(rest).statement()
        if names and kind == "if":
            raise TemplateError("a variable in a condition is not supported")
        if len(self._stack) > DEEPEST:
            raise TemplateError(f"it is nested deeper than {DEEPEST} levels")
        self._stack.append(_Frame(kind, [value], names))

    def _else(self, rest: str) -> None:
        frame = self._stack[-1]
        if frame.kind == "template" or frame.otherwise is not None:
            raise TemplateError("there is an else that belongs to nothing")
        if frame.kind == "range":
            raise TemplateError("{{ else }} of a range is not supported")
        frame.otherwise = []
        if rest:
            word, _, condition = rest.partition(" ")
            if word != "if":
                raise TemplateError(f"{{{{ else {rest[:40]} }}}} is not understood")
            self._open("else if", condition)

    def _end(self) -> None:
        while True:
            frame = self._stack.pop()
            if frame.kind == "template":
                raise TemplateError("there is an end that belongs to nothing")
            body, otherwise = tuple(frame.body), tuple(frame.otherwise or ())
            if frame.kind == "range":
                self._add(Range(frame.names, frame.head[0], body))
            else:
                self._add(If(frame.head[0], body, otherwise))
            if frame.kind != "else if":
                return


def _action_end(source: str, start: int) -> int:
    """Return where the action that begins at `start` has been closed.  Raises TemplateError."""
    # Piece by piece: what Python 3.11.2 does with a possessive group is wrong.
    while (piece := _PIECE.match(source, start)) is not None:
        start = piece.end()
        if piece.group() == "}}":
            return start
    raise TemplateError("there is a {{ without its }}")


def _pieces(source: str) -> Iterator[tuple[str, str]]:
    """Yield the text before each action, trimmed as the dashes say, and the action."""
    place, trims = 0, False
    while (start := source.find("{{", place)) >= 0:
        end = _action_end(source, start + 2)
        text, action = source[place:start], source[start + 2 : end - 2]
        text = text.lstrip() if trims else text
        if action[:1] == "-" and action[1:2].isspace():
            text, action = text.rstrip(), action[1:]
        place, trims = end, action[-1:] == "-" and action[-2:-1].isspace()
        action = (action[:-1] if trims else action).strip()
        yield text, "" if action.startswith("/*") else action
    yield source[place:].lstrip() if trims else source[place:], ""
