"""A Go chat template in Jinja.

Every value has a *kind*, so that only what has the same meaning on both sides is translated: a
member that Ollama has and the engine has not is refused.  All text is written as string literals,
because engines trim white space around blocks each in their own way.

Ollama knows two sorts of templates.  One loops over `.Messages`, and `.Prompt` and `.Suffix` are
empty then.  The older one describes a single
exchange (`.System`, `.Prompt`, `.Response`) and is used once for each; the last one is cut behind
`.Response`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from runnerd.models.gotemplates.syntax import parse
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
from runnerd.models.gotemplates.values import (
    ITEMS,
    MEMBERS,
    Value,
    literal,
    quoted,
    result_of,
    shown,
)

_MOST_MADE = 2**20  # characters of one translation, of its parts on the way there as well

_SYSTEM = (
    "{%- for m in messages -%}{%- if m['role'] == 'system' -%}"
    "{%- set ns.system = ns.system + ('\\n\\n' if ns.system else '') + m['content'] -%}"
    "{%- endif -%}{%- endfor -%}"
)


def to_jinja(source: str) -> str:
    """A Go template in Jinja.  Raises TemplateError, which says what is in the way.

    Some words of Go's take several times their length in Jinja, and they can stand in each other;
    so what is made is counted before it is made.
    """
    nodes = parse(source)
    made = _Made()
    members = {name for node in nodes for name in _members_in(node)}
    start = "{%- set ns = namespace(system='', prompt='', response='') -%}"
    if "Messages" in members:
        return start + _SYSTEM + _written(nodes, made)
    if "Prompt" not in members:
        raise TemplateError("it shows neither .Messages nor .Prompt, so no question would be asked")
    if "Response" not in members:
        nodes = (*nodes, Output(Field("", ("Response",))))
    return start + _exchanges(nodes, made)


def _exchanges(nodes: tuple[Node, ...], made: _Made) -> str:
    """Return the loop that uses a template of one exchange for each, and the unfinished last."""
    again = _written(nodes, made) + "".join(
        f"{{%- set ns.{name} = '' -%}}" for name in ("system", "prompt", "response")
    )
    return (
        "{%- for m in messages -%}"
        "{%- if m['role'] == 'system' -%}"
        "{%- if ns.prompt or ns.response -%}" + again + "{%- endif -%}"
        "{%- set ns.system = m['content'] -%}"
        "{%- elif m['role'] == 'user' -%}"
        "{%- if ns.response -%}" + again + "{%- endif -%}"
        "{%- set ns.prompt = m['content'] -%}"
        "{%- elif m['role'] == 'assistant' -%}"
        "{%- set ns.response = m['content'] -%}"
        "{%- endif -%}{%- endfor -%}" + _written(until_response(nodes)[0], made)
    )


def until_response(nodes: Sequence[Node]) -> tuple[tuple[Node, ...], bool]:
    """Return the nodes up to and with the output of .Response, and whether it was met."""
    kept: list[Node] = []
    for node in nodes:
        met = isinstance(node, Output) and node.value == Field("", ("Response",))
        if isinstance(node, If):
            body, met = until_response(node.body)
            otherwise, met_there = ((), True) if met else until_response(node.otherwise)
            met = met or met_there
            node = If(node.condition, body, otherwise)
        kept.append(node)
        if met:
            return tuple(kept), True
    return tuple(kept), False


def _members_in(node: Node | Expression) -> Iterator[str]:
    """Yield the names of all members that a template looks at."""
    match node:
        case Field(base, path):
            yield from path[:1] if isinstance(base, str) else _members_in(base)
        case Call(_, arguments):
            for argument in arguments:
                yield from _members_in(argument)
        case Output(value) | Assignment(_, value):
            yield from _members_in(value)
        case If(condition, body, otherwise):
            yield from _members_in(condition)
            for child in (*body, *otherwise):
                yield from _members_in(child)
        case Range(_, value, body):
            yield from _members_in(value)
            for child in body:
                yield from _members_in(child)


class _Made:
    """How much one translation has made so far."""

    def __init__(self) -> None:
        self._left = _MOST_MADE

    def count(self, characters: int) -> None:
        """Raise TemplateError if so many more are too many."""
        self._left -= characters
        if self._left < 0:
            raise TemplateError(f"it takes more than {_MOST_MADE} characters in Jinja")


def _written(nodes: Sequence[Node], made: _Made) -> str:
    pieces = []
    for piece in _Writer(made).nodes(nodes, _Scope(Value("root", ""))):
        made.count(len(piece))
        pieces.append(piece)
    return "".join(pieces)


@dataclass(frozen=True, slots=True)
class _Scope:
    """What `.` and the variables mean at some place."""

    dot: Value
    variables: tuple[tuple[str, Value], ...] = ()

    def variable(self, name: str) -> Value:
        for known, value in reversed(self.variables):
            if known == name:
                return value
        raise TemplateError(f"the variable {name} is not set")

    def declared(self, name: str, value: Value) -> _Scope:
        return replace(self, variables=(*self.variables, (name, value)))


class _Writer:
    """Writes nodes.  Variables are members of a namespace: Jinja forgets others behind a loop."""

    def __init__(self, made: _Made) -> None:
        self._made = made
        self._names = 0

    def nodes(self, nodes: Sequence[Node], scope: _Scope) -> Iterator[str]:
        for node in nodes:
            match node:
                case Text(text):
                    yield f"{{{{- {quoted(text)} -}}}}"
                case Output(value):
                    found = self._value(value, scope)
                    self._made.count(2 * len(found.text))
                    yield f"{{{{- {shown(found)} -}}}}"
                case Assignment(name, value):
                    found = self._value(value, scope)
                    scope, text = self._set(name, found.text, found.kind, scope)
                    yield text
                case If(condition, body, otherwise):
                    yield f"{{%- if {self._value(condition, scope).text} -%}}"
                    yield from self.nodes(body, scope)
                    if otherwise:
                        yield "{%- else -%}"
                        yield from self.nodes(otherwise, scope)
                    yield "{%- endif -%}"
                case Range(names, value, body):
                    yield from self._loop(names, self._value(value, scope), body, scope)

    def _loop(
        self, names: tuple[str, ...], over: Value, body: Sequence[Node], scope: _Scope
    ) -> Iterator[str]:
        kind = ITEMS.get(over.kind)
        if kind is None:
            raise TemplateError(f"a range over {over.text} is not supported")
        self._names += 1
        item = Value(kind, f"x{self._names}")
        inner = replace(scope, dot=item)
        yield f"{{%- for {item.text} in ({over.text} or []) -%}}"
        if len(names) == 2:
            inner, text = self._set(names[0], "loop.index0", "number", inner)
            yield text
        if names:
            inner = inner.declared(names[-1], item)
        yield from self.nodes(body, inner)
        yield "{%- endfor -%}"

    def _set(self, name: str, text: str, kind: str, scope: _Scope) -> tuple[_Scope, str]:
        """Return the scope with a variable set, and what sets it; an old one keeps its place."""
        known = dict(scope.variables).get(name)
        if known is not None and known.kind == kind and known.text.startswith("ns."):
            return scope, f"{{%- set {known.text} = {text} -%}}"
        self._names += 1
        value = Value(kind, f"ns.v{self._names}")
        return scope.declared(name, value), f"{{%- set {value.text} = {text} -%}}"

    def _value(self, expression: Expression, scope: _Scope) -> Value:
        match expression:
            case Literal(value):
                return literal(value)
            case Field(base, path):
                return self._field(base, path, scope)
            case Call(name, arguments):
                values = [self._value(argument, scope) for argument in arguments]
                lengths = [len(value.text) for value in values]
                # The first of a comparison is written again for each of the others.
                self._made.count(sum(lengths) + len(values) * (max(lengths[:1], default=0) + 8))
                return result_of(name, values)

    def _field(self, base: str | Expression, path: tuple[str, ...], scope: _Scope) -> Value:
        if base == "":
            value = scope.dot
        elif base == "$":
            value = Value("root", "")
        elif isinstance(base, str):
            value = scope.variable(base)
        else:
            value = self._value(base, scope)
        for name in path:
            known = MEMBERS.get((value.kind, name))
            if known is None:
                raise TemplateError(f".{name} of {value.kind} is not supported")
            self._made.count(len(known[1]) + len(value.text))
            value = Value(known[0], known[1].replace("{}", value.text))
        return value
