"""What a name means: which registry, which repository of the hub, which URL."""

from __future__ import annotations

import pytest

from runnerd.errors import ClientError, InvalidReference
from runnerd.models.digest import Digest
from runnerd.models.reference import Reference
from runnerd.outbound.addresses import AllowedSources
from runnerd.outbound.client import Outbound
from runnerd.pulls import weblink
from runnerd.pulls.credentials import DockerCredentials
from runnerd.pulls.hub import HubName, is_hub
from runnerd.pulls.pulling import parse_source
from runnerd.pulls.registry import Registry
from runnerd.pulls.settings import RegistrySettings
from runnerd.pulls.weblink import shown

HEX = "a" * 64


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("smollm2", "https://registry-1.docker.io/v2/ai/smollm2/x"),
        ("docker.io/me/m:v1", "https://registry-1.docker.io/v2/me/m/x"),
        ("ghcr.io/a/b/c:v1", "https://ghcr.io/v2/a/b/c/x"),
        ("reg.local:5000/m", "http://reg.local:5000/v2/m/x"),
        ("reg.local/m", "https://reg.local/v2/m/x"),
        (
            "registry.ollama.ai/library/llama3.2:1b",
            "https://registry.ollama.ai/v2/library/llama3.2/x",
        ),
        ("ollama.com/qwen3", "https://registry.ollama.ai/v2/library/qwen3/x"),
    ],
)
def test_registries(name: str, url: str) -> None:
    """Each name leads to one repository; plain http only where the owner said so."""
    registry = Registry(
        Outbound(AllowedSources()),
        RegistrySettings(insecure=frozenset({"reg.local:5000"})),
        Reference.parse(name),
        credentials=DockerCredentials(),
    )
    assert str(registry.url("x")) == url


@pytest.mark.parametrize(
    ("text", "repository", "revision", "label", "tag"),
    [
        ("hf.co/Org/Repo", "Org/Repo", "main", None, "huggingface.co/org/repo:latest"),
        ("hf.co/Org/Repo:latest", "Org/Repo", "main", None, "huggingface.co/org/repo:latest"),
        ("HF.co/o/r:Q4_K_M", "o/r", "main", "Q4_K_M", "huggingface.co/o/r:Q4_K_M"),
        ("huggingface.co/o/r@v2", "o/r", "v2", None, "huggingface.co/o/r:latest"),
        ("hf.co/o/r@refs/pr/1:Q8_0", "o/r", "refs/pr/1", "Q8_0", "huggingface.co/o/r:Q8_0"),
    ],
)
def test_hub_names(text: str, repository: str, revision: str, label: str | None, tag: str) -> None:
    """The hub's names keep their case, tags are as references are."""
    assert is_hub(text)
    name = HubName.parse(text)
    assert (name.repository, name.revision, name.label) == (repository, revision, label)
    assert str(name.reference) == tag


@pytest.mark.parametrize(
    "text", ["hf.co/o", "hf.co/o/r/x", "hf.co/../r", "hf.co/o/r@../x", "hf.co/o/r@a b", "hf.co/"]
)
def test_names_that_the_hub_cannot_have(text: str) -> None:
    """A name that could leave its place in a URL is refused."""
    with pytest.raises(InvalidReference):
        HubName.parse(text)


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


def test_urls() -> None:
    """A fragment may state the digest; the parts of a split model are found by their number."""
    http = Outbound(AllowedSources())
    url, digest = weblink.parse_url(f"https://x.example/a/m.gguf?k=1#sha256={HEX}")
    assert (str(url), digest) == ("https://x.example/a/m.gguf?k=1", Digest(HEX))
    url, _ = weblink.parse_url("https://x.example/m-00002-of-00003.gguf?k=1")
    found = [str(file.remote.url) for file in weblink.offer(http, url, None).files]
    assert found == [f"https://x.example/m-0000{n}-of-00003.gguf?k=1" for n in (1, 2, 3)]
    with pytest.raises(ClientError, match="several files"):
        weblink.offer(http, url, Digest(HEX))
    with pytest.raises(InvalidReference):
        weblink.offer(http, weblink.parse_url("https://x/m-00001-of-99999.gguf")[0], None)
    for wrong in (
        "https://x/#sha256=zz",
        "https://x/#frag",
        "https://[x/",
        "https://x/" + "a" * 5000,
    ):
        with pytest.raises(InvalidReference):
            weblink.parse_url(wrong)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://h.example/a.gguf?X-Amz-Signature=secret#sha256=x", "https://h.example/a.gguf"),
        ("https://user:secret@h.example/a.gguf", "https://h.example/a.gguf"),
        ("https://user:sec/ret@h.example/a.gguf", "https://user:sec/ret@h.example/a.gguf"),
        ("HTTPS://user@h.example?k=secret", "HTTPS://h.example"),
        ("hf.co/org/repo:Q4_0", "hf.co/org/repo:Q4_0"),
    ],
)
def test_what_is_shown_of_a_url(text: str, expected: str) -> None:
    """Neither credentials nor the query, where signed links have their key."""
    assert shown(text) == expected
