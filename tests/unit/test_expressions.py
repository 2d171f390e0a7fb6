"""What stands in an action of a Go template."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.models.gotemplates.expressions import DEEPEST, Expressions
from runnerd.models.gotemplates.tree import Call, Expression, Field, Literal, TemplateError


@pytest.mark.parametrize(
    ("source", "names", "value"),
    [
        (".Messages", (), Field("", ("Messages",))),
        ("$.System", (), Field("$", ("System",))),
        ('eq .Role "user"', (), Call("eq", (Field("", ("Role",)), Literal("user")))),
        ("$x := 1.5", ("$x",), Literal(1.5)),
        ("$i, $m := .Messages", ("$i", "$m"), Field("", ("Messages",))),
        ("(index .A 0).B", (), Field(Call("index", (Field("", ("A",)), Literal(0))), ("B",))),
        (".Tools | json", (), Call("json", (Field("", ("Tools",)),))),
        ("`raw \\n`", (), Literal("raw \\n")),
        ("nil", (), Literal(None)),
    ],
)
def test_statements(source: str, names: tuple[str, ...], value: Expression) -> None:
    """Names that are set, and the value; what goes through a pipe is the last argument."""
    assert Expressions(source).statement() == (names, value)


@pytest.mark.parametrize(
    "source",
    ["", ")", "(", "(.A", '"open', "1 2", ".A | 1", "x := 1", "$a, $b, $c := .A", "9" * 30],
)
def test_what_is_no_statement(source: str) -> None:
    """It is refused, and shown."""
    with pytest.raises(TemplateError):
        Expressions(source).statement()


@pytest.mark.parametrize(
    "source",
    ["(" * (DEEPEST + 1) + ".A" + ")" * (DEEPEST + 1), ".A" + " | json" * (DEEPEST + 1)],
)
def test_depth_is_bounded(source: str) -> None:
    """Parentheses and pipes lie in each other only so deep."""
    with pytest.raises(TemplateError):
        Expressions(source).statement()


@given(st.text(alphabet='.$|()"`=:, a1-', max_size=40))
def test_any_text_is_read_or_refused(source: str) -> None:
    """Nothing else is raised."""
    try:
        Expressions(source).statement()
    except TemplateError:
        return
