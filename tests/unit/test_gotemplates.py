"""runnerd.models.gotemplates: what is read, what is refused, and that nothing else happens."""

from __future__ import annotations

import contextlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.models.gotemplates.rendering import render
from runnerd.models.gotemplates.syntax import parse
from runnerd.models.gotemplates.translation import to_jinja
from runnerd.models.gotemplates.tree import Field, If, Literal, Output, Range, TemplateError, Text

COVERS = (
    "runnerd.models.gotemplates.rendering",
    "runnerd.models.gotemplates.syntax",
    "runnerd.models.gotemplates.translation",
)

PIECES = [
    "{{ .Prompt }}", "{{ .Messages }}", "{{ if .System }}", "{{- else }}", "{{ else if .Think }}",
    "{{ end -}}", "{{ range $i, $m := .Messages }}", "{{ $last := eq 1 2 }}", "{{ .Role | json }}",
    "{{/* note */}}", "{{ (index .Messages 0).Content }}", "{{", "}}", "{%", '"', "`", "\\", " \n",
    "{{ and . . }}", "{{ $.Tools }}", "{{ ( }}", "{{ range .Tools }}", "text", "{{ .Response }}",
]  # fmt: skip


def test_dashes_trim_and_comments_vanish() -> None:
    """White space goes on the side where the dash is; a brace in a text is a brace."""
    assert parse('a \n{{- .X -}}\n b{{/* c */}}{{ "}}" }}') == (
        Text("a"),
        Output(Field("", ("X",))),
        Text("b"),
        Output(Literal("}}")),
    )


def test_blocks_nest_as_they_are_written() -> None:
    """An `else if` is an if in the other way, and has no end of its own."""
    [node] = parse("{{ if .A }}1{{ else if .B }}2{{ else }}3{{ end }}")
    assert node == If(
        Field("", ("A",)),
        (Text("1"),),
        (If(Field("", ("B",)), (Text("2"),), (Text("3"),)),),
    )
    [loop] = parse("{{ range $i, $m := .Messages }}{{ $m.Role }}{{ end }}")
    assert loop == Range(("$i", "$m"), Field("", ("Messages",)), (Output(Field("$m", ("Role",))),))


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ .Prompt", "without its"),
        ("{{ if .Prompt }}x", "no end"),
        ("{{ end }}", "belongs to nothing"),
        ("{{ else }}", "belongs to nothing"),
        ("{{ .Prompt }}{{ .Model }}", ".Model of root"),
        ("{{ range .Messages }}{{ .Images }}{{ end }}", ".Images of message"),
        ('{{ .Prompt }}{{ printf "%s" .System }}', "printf"),
        ("{{ with .Prompt }}{{ . }}{{ end }}", "with"),
        ("{{ range .Messages }}{{ . }}{{ end }}", "cannot be written"),
        ("{{ .Prompt }}{{ $x }}", "$x is not set"),
        ("only text", "no question"),
        ("{{ .Prompt 3 4 }}", "not understood"),
        ("{{ range .Prompt }}{{ end }}", "range over"),
        ("{{ if .A }}" * 40, "deeper"),
        ("x" * 300_000, "characters"),
    ],
)
def test_what_cannot_be_said_is_named(template: str, reason: str) -> None:
    """The message names the part that is in the way."""
    with pytest.raises(TemplateError, match=reason.replace("$", r"\$")):
        to_jinja(template)


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=12))
def test_any_text_is_translated_or_refused(pieces: list[str]) -> None:
    """Nothing but a TemplateError comes out of a hostile template."""
    try:
        jinja = to_jinja("".join(pieces))
    except TemplateError:
        return
    assert jinja.startswith("{%-")
    assert jinja.count("{%-") == jinja.count("-%}") or "{%" in "".join(pieces)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (
            "{{ range .Many }}{{ range $.Many }}{{ range $.Many }}x{{ end }}{{ end }}{{ end }}",
            "step",
        ),
        ("{{ .Missing }}", "not there"),
        ("{{ index .Many 9999 }}", "carried out"),
        ("{{ lt .Many 3 }}", "carried out"),
        ("{{ .Text.Deeper }}", "not there"),
        ("{{ $x }}", "not set"),
        ("{{ shell .Text }}", "shell"),
    ],
)
def test_a_hostile_template_ends_soon(template: str, reason: str) -> None:
    """However it loops and whatever it asks for."""
    with pytest.raises(TemplateError, match=reason):
        render(template, {"Many": ["x"] * 1000, "Text": "t"})


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=12))
def test_any_template_is_carried_out_or_refused(pieces: list[str]) -> None:
    """Nothing but a TemplateError comes out of it."""
    messages = [{"Role": "user", "Content": "hi"}]
    values = {"System": "s", "Prompt": "p", "Messages": messages, "Tools": None, "Think": True}
    try:
        text = render("".join(pieces), {**values, "Response": ""})
    except TemplateError:
        return
    assert isinstance(text, str)


def nested(name: str, depth: int) -> str:
    """An expression whose first part is the same expression, and so on."""
    return ".Prompt" if not depth else f"({name} {nested(name, depth - 1)} 1 2)"


@pytest.mark.parametrize(
    "source",
    [
        "{{ if " + nested("eq", 24) + " }}{{ .Prompt }}{{ end }}",
        "{{ .Prompt" + " | json" * 20_000 + " }}",
        "{{ range .Messages }}" + "{{ .Content" + " | json" * 300 + " }}{{ end }}",
        "{{ .Prompt | json | json | json }}{{ " + "1" * 5000 + " }}",
        "{{ .Prompt }}" + "{{ $x := json .Prompt }}{{ json $x }}" * 30_000,
    ],
    ids=["nested eq", "a chain", "a chain in a loop", "a long number", "many"],
)
def test_a_translation_does_not_explode(source: str) -> None:
    """What is made of a template is bounded while it is made, however it is written."""
    tracemalloc.start()
    try:
        with contextlib.suppress(TemplateError):
            assert len(to_jinja(source)) < 4 * 2**20
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 64 * 2**20
    assert len(source) < 2**21


def test_a_template_that_explodes_is_refused() -> None:
    """With the reason."""
    with pytest.raises(TemplateError, match="characters in Jinja"):
        to_jinja("{{ if " + nested("eq", 24) + " }}{{ .Prompt }}{{ end }}")
