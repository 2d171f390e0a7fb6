"""Ollama's Modelfile as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.cli.modelfile_text import ModelfileText, parse_modelfile
from runnerd.errors import ClientError


def test_every_instruction() -> None:
    """In any case, in quotes, over several lines, with comments between."""
    text = '''
# a model
from llama3
PARAMETER temperature 0.5
parameter stop "<end>"
PARAMETER stop END
PARAMETER num_ctx 4096
PARAMETER use_mmap true
SYSTEM """
You are
Ada.
"""
TEMPLATE "{{ .Prompt }}"
MESSAGE user Who are you?
MESSAGE assistant """Ada.
Really."""
LICENSE """MIT"""
ADAPTER ./adapter.gguf
'''
    assert parse_modelfile(text) == ModelfileText(
        base="llama3",
        adapters=["./adapter.gguf"],
        template="{{ .Prompt }}",
        system="You are\nAda.",
        licenses=["MIT"],
        parameters={
            "temperature": 0.5,
            "stop": ["<end>", "END"],
            "num_ctx": 4096,
            "use_mmap": True,
        },
        messages=[
            {"role": "user", "content": "Who are you?"},
            {"role": "assistant", "content": "Ada.\nReally."},
        ],
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("SYSTEM x", "there is no FROM"),
        ("FROM", "line 1: FROM is given nothing"),
        ("FROM x\nFORM y", "line 2: there is no instruction FORM"),
        ("FROM x\n\nMESSAGE tool y", "line 3: MESSAGE is of"),
        ("FROM x\nPARAMETER stop", "line 2: PARAMETER stop is given no value"),
        ('FROM x\nSYSTEM """never\nends', "line 2: SYSTEM begins with"),
        ("FROM x\n: y", "line 2: ': y' is no instruction"),
    ],
)
def test_mistakes_are_told_with_their_line(text: str, reason: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ClientError, match=reason):
        parse_modelfile(text)


@given(st.text())
def test_whatever_is_written(text: str) -> None:
    """It is read or refused."""
    try:
        assert parse_modelfile(text).base
    except ClientError:
        pass
