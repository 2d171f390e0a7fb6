"""What GridRepublic's clients submit."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.api.gridrepublic.command_lines import APPLICATION, read
from runnerd.errors import ClientError


def document(command_line: object, **more: Any) -> dict[str, Any]:
    return {"app": APPLICATION, "commandLine": command_line, "tag": "gemma:2b", **more}


def test_the_documented_form() -> None:
    """As their page has it."""
    said = read(document('{"inputs": ["When does 1+1=10?"] }'))
    assert (said.inputs, said.tag) == (("When does 1+1=10?",), "gemma:2b")
    assert (said.hours, said.copies) == (1.0, 1)
    assert read(document('{"inputs": ["x"]}', hours=2, copies=3)).copies == 3


def test_the_earlier_form() -> None:
    """In single quotes, and `input` instead of `inputs`."""
    assert read(document("{'input': ['It\\'s \"so\"'] }")).inputs == ('It\'s "so"',)
    assert read(document("{'inputs': 'one'}")).inputs == ("one",)


@given(st.lists(st.text(min_size=1), min_size=1))
def test_any_text(inputs: list[str]) -> None:
    """What is JSON is taken as it is."""
    plain = [text.encode("utf-8", "replace").decode() for text in inputs]
    assert read(document(json.dumps({"inputs": plain}))).inputs == tuple(plain)


@given(st.text())
def test_anything(command_line: str) -> None:
    """Anything else is refused."""
    with contextlib.suppress(ClientError):
        assert read(document(command_line)).inputs


@pytest.mark.parametrize(
    "wrong", ["[" * 100_000, "{'inputs': " + "[" * 100_000, "'" * 10_001, "\\'" * 10_000]
)
def test_deep_and_long(wrong: str) -> None:
    """What would cost much is refused as well."""
    with pytest.raises(ClientError):
        read(document(wrong))
