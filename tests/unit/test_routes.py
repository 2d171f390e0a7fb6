"""Which paths are inference, and what they ask for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.relay.operations import OPERATIONS
from runnerd.relay.routes import find


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
@pytest.mark.parametrize(
    ("prefix", "backend", "runner"),
    [
        ("/v1", None, None),
        ("/openai/v1", None, None),
        ("/engines/v1", None, None),
        ("/engines/llama.cpp/v1", "llama.cpp", None),
        ("/runners/0123abcd/v1", None, "0123abcd"),
    ],
)
def test_operation_is_offered_under_every_prefix(
    operation: str, prefix: str, backend: str | None, runner: str | None
) -> None:
    """Each operation is found behind each prefix, with what the prefix says."""
    route = find(f"{prefix}/{operation}")
    assert route is not None
    assert (route.operation.name, route.backend, route.runner) == (operation, backend, runner)


def test_rerank_without_v1() -> None:
    """Docker's /rerank has no version in it."""
    for path in ("/rerank", "/engines/rerank", "/engines/llama.cpp/rerank", "/v2/rerank"):
        route = find(path)
        assert route is not None
        assert route.operation.name == "rerank"


@pytest.mark.parametrize(
    "path",
    [
        "/", "", "/v1", "/v1/", "/v1/models", "/v1/props", "/v1/slots", "/v1/chat", "/slots",
        "/v1/chat/completions/", "/v1/chat/completions/control", "/engines/status", "/models",
        "/engines/a/b/v1/completions", "/V1/completions", "/v1//completions",
        "/v1/../v1/completions", "/v1/completions%00", "/lora-adapters", "/metrics", "/v1/streams",
        "/openai/completions", "/cors-proxy", "/tools", "/runners/x/completions",
    ],
)  # fmt: skip
def test_anything_else_is_not_inference(path: str) -> None:
    """The engine's other paths, and look-alikes, are never relayed."""
    assert find(path) is None


@given(st.text())
def test_no_path_breaks_the_table(path: str) -> None:
    """Any text is either a known operation or nothing."""
    route = find(path)
    assert route is None or route.operation.name in OPERATIONS
