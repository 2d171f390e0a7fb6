"""Pantry's links."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.errors import ClientError, InvalidReference
from runnerd.llms.entry import ConnectorType, LLMRegistryEntry, parse_entry
from runnerd.llms.links import is_link, link_of, parse_link
from tests.support.pantry import entry

ENTRY = parse_entry(json.dumps(entry("http://x/y?a=?>~.gguf", description="ÿþ?>")))


@given(st.text(min_size=1, max_size=50), st.text(max_size=50))
def test_there_and_back(id: str, url: str) -> None:
    """A link has the whole entry."""
    try:
        made = LLMRegistryEntry(id=id, url=url, connector_type=ConnectorType.LLMRS)
        link = link_of(made)
    except UnicodeEncodeError:  # half a surrogate pair is no text
        return
    assert parse_link(link) == made


def test_the_alphabet() -> None:
    """Standard base64, in the link of the original."""
    link = link_of(ENTRY)
    assert link.startswith("pantry://download/")
    data = link.removeprefix("pantry://download/")
    assert parse_entry(base64.b64decode(data, validate=True)) == ENTRY


def test_other_spellings() -> None:
    """Browsers and shells change links: their case, their padding, what is escaped."""
    link = link_of(ENTRY)
    head, data = link[:18], link[18:]
    for spelled in (
        f"  {link}\n",
        head.upper() + data,
        head + quote(data, safe=""),
        head + data.rstrip("="),
        head + data.replace("+", "-").replace("/", "_"),
        link + "/",
    ):
        assert parse_link(spelled) == ENTRY, spelled


@pytest.mark.parametrize(
    "link",
    [
        "pantry://",
        "pantry://download",
        "pantry://debug/x",
        "pantry://download/!",
        "pantry://download/é",
    ],
)
def test_links_that_are_none(link: str) -> None:
    """They are Pantry's all the same, and refused."""
    assert is_link(link)
    with pytest.raises(InvalidReference):
        parse_link(link)


def test_what_is_in_them() -> None:
    """A link without an entry, and one without end."""
    empty = base64.b64encode(b"{}").decode()
    with pytest.raises(ClientError):
        parse_link(f"pantry://download/{empty}")
    with pytest.raises(InvalidReference):
        parse_link("pantry://download/" + "A" * 2**20)


@pytest.mark.parametrize("text", ["", "ai/smollm2", "pantry/x:1", "http://pantry://", "pantry:x"])
def test_other_references(text: str) -> None:
    """Names of models are no links."""
    assert not is_link(text)
