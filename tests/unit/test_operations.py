"""runnerd.relay.operations: what engines do, and what a runner offers on its own socket."""

from __future__ import annotations

from runnerd.access import Action
from runnerd.relay.operations import ENGINE_ROUTES, OPERATIONS


def test_every_operation_is_known_by_its_name() -> None:
    """All of them are for whoever may use models."""
    assert all(operation.name == name for name, operation in OPERATIONS.items())
    assert {operation.action for operation in OPERATIONS.values()} == {Action.USE_MODEL}


def test_a_runner_offers_its_own_words_and_openais() -> None:
    """And nothing that tells of other requests, changes its engine or takes a file."""
    for path, engine_path in ENGINE_ROUTES.items():
        assert ENGINE_ROUTES[engine_path] == engine_path, path
    assert "/v1/audio/transcriptions" not in ENGINE_ROUTES
    for path in ("/slots", "/props", "/lora-adapters", "/metrics", "/health", "/models/load"):
        assert path not in ENGINE_ROUTES
