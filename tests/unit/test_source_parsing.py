"""What a name means: a registry's model, a repository of the hub, or a URL."""

from __future__ import annotations

import pytest

from runnerd.errors import InvalidReference
from runnerd.models.digest import Digest
from runnerd.pulls.hub import HubSource
from runnerd.pulls.registry import RegistrySource
from runnerd.pulls.source_parsing import parse_source
from runnerd.pulls.weblink import WebSource

HEX = "a" * 64


@pytest.mark.parametrize(
    ("text", "kind", "tag"),
    [
        ("smollm2", RegistrySource, "ai/smollm2:latest"),
        ("ollama.com/library/qwen3", RegistrySource, "registry.ollama.ai/library/qwen3:latest"),
        ("hf.co/Org/Repo:Q4_0", HubSource, "huggingface.co/org/repo:Q4_0"),
        ("https://huggingface.co/Org/Repo", HubSource, "huggingface.co/org/repo:latest"),
        ("https://example.com/m-f16.gguf", WebSource, "ai/m:f16"),
    ],
)
def test_kinds(text: str, kind: type, tag: str) -> None:
    """By what was typed; the address of a page is the model that it shows."""
    source = parse_source(text)
    assert type(source) is kind
    assert source.tag == tag


def test_what_belongs_to_each() -> None:
    """A URL has a digest, the others a token, and the hub a revision."""
    web = parse_source("https://x/m.gguf", token="t", digest=Digest(HEX))
    assert isinstance(web, WebSource)
    assert web.digest == Digest(HEX)
    hub = parse_source("hf.co/o/r", token="t", revision="v2", for_owner=True)
    assert isinstance(hub, HubSource)
    assert (hub.token, hub.name.revision, hub.for_owner) == ("t", "v2", True)
    registry = parse_source("m", token="t", for_owner=True)
    assert isinstance(registry, RegistrySource)
    assert (registry.token, registry.for_owner) == ("t", True)
    for text in ("", "a b", "hf.co/o", "https://me:secret@x/m.gguf"):
        with pytest.raises(InvalidReference):
            parse_source(text)


@pytest.mark.parametrize(
    ("one", "other", "tag"),
    [
        ("smollm2", " docker.io/ai/smollm2:latest", "ai/smollm2:latest"),
        ("hf.co/Org/Repo", "huggingface.co/Org/Repo@main", "huggingface.co/org/repo:latest"),
        (f"https://x/m-f16.gguf#sha256={HEX}", f"https://x/m-f16.gguf#sha256={HEX}", "ai/m:f16"),
        (f"smollm2@sha256:{HEX}", f"ai/smollm2@sha256:{HEX}", None),
    ],
)
def test_names_of_one_thing_are_one_source(one: str, other: str, tag: str | None) -> None:
    """However it is typed, so that two who want it share one transfer; a token is not shared."""
    source = parse_source(one)
    assert source == parse_source(other)
    assert hash(source) == hash(parse_source(other))
    assert source.tag == tag
    assert source.text == one
    if not one.startswith("https"):
        assert source != parse_source(other, token="hf_x")


def test_token_is_not_printed() -> None:
    """A source in a log line keeps it."""
    for name in ("smollm2", "hf.co/o/r"):
        assert "hf_x" not in repr(parse_source(name, token="hf_x"))
