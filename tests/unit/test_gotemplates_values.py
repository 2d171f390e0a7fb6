"""Functions and literals of Go templates in Jinja."""

from __future__ import annotations

import pytest

from runnerd.models.gotemplates.tree import TemplateError
from runnerd.models.gotemplates.values import Value, literal, quoted, result_of, shown

MESSAGES = Value("messages", "messages")
ONE, TWO, THREE = (Value("number", text) for text in "123")


@pytest.mark.parametrize(
    ("name", "values", "kind", "text"),
    [
        ("eq", [ONE, TWO, THREE], "truth", "(1 == 2 or 1 == 3)"),
        ("ge", [ONE, TWO], "truth", "(1 >= 2)"),
        ("and", [ONE, TWO], "number", "(1 and 2)"),
        ("or", [ONE, MESSAGES], "truth", "(1 or messages)"),
        ("not", [ONE], "truth", "(not 1)"),
        ("len", [MESSAGES], "number", "(messages | length)"),
        ("slice", [MESSAGES, ONE], "messages", "messages[1:]"),
        ("slice", [MESSAGES, ONE, TWO], "messages", "messages[1:2]"),
        ("index", [MESSAGES, ONE], "message", "messages[1]"),
        ("json", [MESSAGES], "text", "(messages | tojson)"),
    ],
)
def test_functions(name: str, values: list[Value], kind: str, text: str) -> None:
    """Each is written with the kind of what comes out of it."""
    assert result_of(name, values) == Value(kind, text)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("eq", [ONE]),
        ("lt", [ONE, TWO, THREE]),
        ("index", [ONE, TWO]),
        ("slice", [MESSAGES]),
        ("exec", []),
    ],
)
def test_functions_that_are_refused(name: str, values: list[Value]) -> None:
    """What has no like in Jinja, or another meaning, is refused."""
    with pytest.raises(TemplateError, match=name):
        result_of(name, values)


def test_literals() -> None:
    """A text cannot leave its quotes."""
    assert [literal(value).text for value in (True, None, 1, "a")] == ["true", "none", "1", "'a'"]
    assert quoted("it's\n\\") == r"'it\'s\n\\'"


def test_what_is_shown() -> None:
    """Structures show themselves as JSON, and some kinds not at all."""
    assert shown(Value("tools", "tools")) == "(tools | tojson)"
    assert shown(ONE) == "1"
    with pytest.raises(TemplateError, match="truth"):
        shown(Value("truth", "x"))
