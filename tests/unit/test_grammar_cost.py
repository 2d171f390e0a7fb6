"""What a grammar or a schema unfolds to is known before an engine tries."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.errors import ClientError
from runnerd.limit_settings import Limits
from runnerd.relay.body_inspection import inspect
from runnerd.relay.grammar_cost import check_grammar

JSON = r"""
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
array  ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
# optional space
ws ::= | " " | "\n" [ \t]{0,20}
"""


def chain(levels: int, rule: str) -> str:
    """Rules that each name the next one twice."""
    lines = ["root ::= a1", *(rule.format(n, n + 1) for n in range(1, levels))]
    return "\n".join([*lines, f'a{levels} ::= "x"'])


@pytest.mark.parametrize(
    "grammar",
    [
        pytest.param(chain(25, 'a{0} ::= a{1} a{1} | a{1} "x"'), id="begins twice"),
        pytest.param(chain(25, "a{0} ::= a{1}? a{1}"), id="may be left out"),
        pytest.param(chain(25, "a{0} ::= (a{1} | a{1})+"), id="in brackets"),
        pytest.param('root ::= "y" a1\n' + chain(25, "a{0} ::= a{1} | a{1}")[13:], id="later"),
        pytest.param('root ::= (("x"{100}){100}){100}', id="repeated"),
        pytest.param('root ::= ("x"?){1,100} "y"\n' + chain(250, "a{0} ::= a{1}")[13:], id="deep"),
        pytest.param(chain(5, "a{0} ::= (a{1}?){{0,100}}"), id="nothing, often"),
    ],
)
def test_a_grammar_that_unfolds_too_far_is_refused(grammar: str) -> None:
    """By the number of ways in which it can go on, not by its length."""
    with pytest.raises(ClientError, match="unfolds too far"):
        inspect(json.dumps({"model": "m", "grammar": grammar}).encode(), Limits())


@pytest.mark.parametrize(
    "grammar",
    [
        JSON,
        "root ::= " + " | ".join(f'"word {n}"' for n in range(1000)),
        'root ::= item{1,500}\nitem ::= "- " [^\\n]{1,200} "\\n"',
        chain(25, 'a{0} ::= "x" a{1} a{1} | "y"'),
        'root ::= root "x"',
        "no grammar (",
        "root ::= ) *",
    ],
)
def test_others_are_left_to_the_engine(grammar: str) -> None:
    """Honest ones, and those that it cannot read."""
    check_grammar(grammar)


@given(st.text(alphabet='ab ":=|()*+?{}[],019\\\n#._-', max_size=200))
def test_nothing_else_comes_of_any_text(text: str) -> None:
    """It is refused here or left to the engine."""
    with contextlib.suppress(ClientError):
        check_grammar(text)


def schema(levels: int, form: str) -> dict[str, Any]:
    defs: dict[str, Any] = {
        f"a{n}": {form: [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(levels)
    }
    return {"$ref": "#/$defs/a0", "$defs": defs | {f"a{levels}": {"type": "string"}}}


@pytest.mark.parametrize("form", ["anyOf", "oneOf"])
@pytest.mark.parametrize(
    "place",
    [
        lambda found: {"json_schema": found},
        lambda found: {
            "response_format": {"type": "json_schema", "json_schema": {"schema": found}}
        },
        lambda found: {"tools": [{"type": "function", "function": {"parameters": found}}]},
    ],
)
def test_a_schema_that_unfolds_too_far_is_refused(form: str, place: Any) -> None:
    """Wherever it stands; a few choices are nothing."""
    with pytest.raises(ClientError, match="unfolds too far"):
        inspect(json.dumps({"model": "m", **place(schema(25, form))}).encode(), Limits())
    inspect(json.dumps({"model": "m", **place(schema(4, form))}).encode(), Limits())
