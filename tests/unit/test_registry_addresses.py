"""runnerd.pulls.registry: where a model's name leads."""

from __future__ import annotations

import pytest

from runnerd.models.reference import Reference
from runnerd.outbound.addresses import AllowedSources
from runnerd.outbound.client import Outbound
from runnerd.pulls.credentials import DockerCredentials
from runnerd.pulls.registry import Registry
from runnerd.pulls.settings import RegistrySettings

COVERS = ("runnerd.pulls.registry",)


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
