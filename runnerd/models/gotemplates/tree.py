"""The tree of a Go template: its nodes, and the expressions in them."""

from __future__ import annotations

from dataclasses import dataclass


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
