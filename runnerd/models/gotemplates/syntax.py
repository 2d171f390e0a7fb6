"""Go's template language as a tree: text, and actions between double braces.

The part of it that chat templates use: output, `if`, `range`, variables, fields, calls, pipes, and
the dashes that trim white space.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

LONGEST = 2**18
"""Characters of a template."""

_DEEPEST = 32
_LONGEST_NUMBER = 20  # characters
_PIECE = re.compile(r'"(?:[^"\\\n]|\\.)*"|`[^`]*`|\}\}|[^"`}]+|\}')  # of an action, quotes whole
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>"(?:[^"\\\n]|\\.)*") | `(?P<raw>[^`]*)`
    | (?P<number>-?\d+(?:\.\d+)?)(?![\w.])
    | (?P<field>(?:\$\w*)?(?:\.\w+)+ | \$\w* | \.)
    | (?P<word>[A-Za-z_]\w*) | (?P<sign>:=|[()|=,])
    )""",
    re.VERBOSE,
)


class TemplateError(ValueError):
    """What is wrong with a template, or cannot be said in Jinja; for its writer."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A text, number, truth or nil."""

    value: str | float | int | bool | None


@dataclass(frozen=True, slots=True)
class Field:
    """Members of `.` (base ""), of `$`, of a variable, or of another expression."""

    base: str | Expression
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """A function and its arguments."""

    name: str
    arguments: tuple[Expression, ...]


Expression = Literal | Field | Call


@dataclass(frozen=True, slots=True)
class Text:
    """What stands outside of actions."""

    text: str


@dataclass(frozen=True, slots=True)
class Output:
    """An expression whose value is written."""

    value: Expression


@dataclass(frozen=True, slots=True)
class Assignment:
    """A variable that is set."""

    name: str
    value: Expression


@dataclass(frozen=True, slots=True)
class If:
    """A condition with both its ways."""

    condition: Expression
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Range:
    """A loop; `names` are its variables: the value, or the index and the value."""

    names: tuple[str, ...]
    value: Expression
    body: tuple[Node, ...]


Node = Text | Output | Assignment | If | Range


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
            names, value = _Expressions(action).statement()
            if len(names) > 1:
                raise TemplateError(f"{{{{ {action[:60]} }}}} sets two variables")
            self._add(Assignment(names[0], value) if names else Output(value))

    def _open(self, kind: str, rest: str) -> None:
        names, value = _Expressions(rest).statement()
        if names and kind == "if":
            raise TemplateError("a variable in a condition is not supported")
        if len(self._stack) > _DEEPEST:
            raise TemplateError(f"it is nested deeper than {_DEEPEST} levels")
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


class _Expressions:
    """Reads what stands in an action."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = list(self._split())
        self._at = 0
        self._depth = 0
        self._piped = 0  # in the whole statement: what goes through pipes lies in each other, too

    def statement(self) -> tuple[tuple[str, ...], Expression]:
        """Return the variables that are set, if any, and the value."""
        names = self._names()
        value = self._pipe()
        if self._at < len(self._tokens):
            raise self._error()
        return names, value

    def _split(self) -> Iterator[tuple[str, str]]:
        place, source = 0, self._source.rstrip()
        while place < len(source):
            match = _TOKEN.match(source, place)
            if match is None or match.lastgroup is None:
                raise self._error()
            yield match.lastgroup, match[match.lastgroup]
            place = match.end()

    def _error(self) -> TemplateError:
        return TemplateError(f"{{{{ {self._source[:60]} }}}} is not understood")

    def _names(self) -> tuple[str, ...]:
        signs = [text for kind, text in self._tokens if kind == "sign"]
        sign = next((sign for sign in signs if sign in (":=", "=")), None)
        if sign is None:
            return ()
        place = self._tokens.index(("sign", sign))
        names = [text for kind, text in self._tokens[:place] if kind == "field"]
        if not names or any(not re.fullmatch(r"\$\w+", name) for name in names) or len(names) > 2:
            raise self._error()
        self._at = place + 1
        return tuple(names)

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _pipe(self) -> Expression:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error()
        value = self._command(())
        while self._peek() == ("sign", "|"):
            self._at += 1
            self._piped += 1
            if self._piped > _DEEPEST:
                raise self._error()
            value = self._command((value,))
        self._depth -= 1
        return value

    def _command(self, last: tuple[Expression, ...]) -> Expression:
        kind, text = self._peek()
        if kind == "word" and text not in ("true", "false", "nil"):
            self._at += 1
            return Call(text, (*self._operands(), *last))
        operands = self._operands()
        if len(operands) != 1 or last:
            raise self._error()
        return operands[0]

    def _operands(self) -> list[Expression]:
        found: list[Expression] = []
        while True:
            kind, text = self._peek()
            if kind == "end" or (kind == "sign" and text != "("):
                return found
            self._at += 1
            found.append(self._operand(kind, text))

    def _operand(self, kind: str, text: str) -> Expression:
        if kind == "sign":
            inner = self._pipe()
            if self._peek() != ("sign", ")"):
                raise self._error()
            self._at += 1
            kind, text = self._peek()
            if kind == "field" and text.startswith(".") and len(text) > 1:
                self._at += 1
                return Field(inner, tuple(text[1:].split(".")))
            return inner
        return self._simple(kind, text)

    def _simple(self, kind: str, text: str) -> Expression:
        if kind == "field":
            base, *path = text.split(".")
            return Field(base, tuple(part for part in path if part))
        if kind == "word":
            if text in ("true", "false", "nil"):
                return Literal({"true": True, "false": False}.get(text))
            return Call(text, ())
        if kind == "number":
            if len(text) > _LONGEST_NUMBER:
                raise self._error()
            return Literal(float(text) if "." in text else int(text))
        if kind == "raw":
            return Literal(text)
        try:
            return Literal(msgspec.json.decode(text, type=str))
        except msgspec.DecodeError as error:
            raise self._error() from error
