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
from runnerd.pulls.registry import Registry, RegistrySettings

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
