"""Which paths are inference, and what they ask of an engine.

The same operations are offered under several prefixes: `/engines/{backend}/v1/`, `/engines/v1/`,
`/v1/`, `/openai/v1/`, and bound to one runner under `/runners/{id}/v1/`.  Whatever is not in this
table belongs to the control plane.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from runnerd.access import Action
from runnerd.backends.configuration import BackendMode
from runnerd.relay.dialect import Dialect

DESKTOP_PREFIX = "/exp/vDD4.40"
"""What Docker Desktop's socket puts before every route (seed 004); stripped on the Unix socket."""

V1_PREFIXES = ("/v1", "/openai/v1", "/engines/v1", "/engines/llama.cpp/v1")
"""Where OpenAI's API is offered, for dialects that have routes in it."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that an engine does.  `name` is the path behind /v1/.

    `mode` None means: whatever the model is for.  `assembles` says that the engine streams this
    operation in OpenAI's chunks, so that a whole answer can be put together from a stream.  `needs`
    is a capability that the model must have besides, `action` what who asks must be allowed to do.
    """

    name: str
    engine_path: bytes
    mode: BackendMode | None
    action: Action
    assembles: bool = False
    needs: str | None = None


def _operation(
    name: str,
    mode: BackendMode | None,
    *,
    path: str = "",
    assembles: bool = False,
    needs: str | None = None,
) -> Operation:
    return Operation(
        name, (path or f"/v1/{name}").encode(), mode, Action.USE_MODEL, assembles, needs
    )


_COMPLETION = BackendMode.COMPLETION
OPERATIONS = {
    operation.name: operation
    for operation in (
        _operation("chat/completions", _COMPLETION, assembles=True),
        _operation("completions", _COMPLETION, assembles=True),
        _operation("responses", _COMPLETION),
        _operation("messages", _COMPLETION),
        _operation("messages/count_tokens", _COMPLETION),
        _operation("audio/transcriptions", _COMPLETION, path="/v1/chat/completions", needs="audio"),
        _operation("infill", _COMPLETION, path="/infill"),
        _operation("apply-template", _COMPLETION, path="/apply-template"),
        _operation("tokenize", None, path="/tokenize"),
        _operation("detokenize", None, path="/detokenize"),
        _operation("embeddings", BackendMode.EMBEDDING),
        _operation("rerank", BackendMode.RERANKING),
        _operation("reranking", BackendMode.RERANKING, path="/v1/rerank"),
    )
}


@dataclass(frozen=True, slots=True)
class Route:
    """An operation as a path names it: on a backend (None: the default one), or on one runner.

    With a dialect, `operation` is what its requests are counted as; each says what it needs.
    """

    operation: Operation
    backend: str | None = None
    runner: str | None = None
    dialect: Dialect | None = None
    media_type: bytes = b"application/json"


@lru_cache(maxsize=512)
def find(path: str) -> Route | None:
    """Return the inference route of a path, None when the path is the control plane's."""
    parts = path.split("/")
    if parts[0] != "" or len(parts) < 2:
        return None
    match parts[1:]:
        case ["v1" | "openai", *_] | ["engines", "v1", *_]:
            return _behind_v1(parts, backend=None, runner=None)
        case ["engines", backend, "v1", *_]:
            return _behind_v1(parts, backend=backend, runner=None)
        case ["runners", runner, "v1", *_]:
            return _behind_v1(parts, backend=None, runner=runner)
        case ["rerank" | "reranking"] | ["v2" | "engines", "rerank" | "reranking"]:
            return Route(OPERATIONS["rerank"])
        case ["engines", backend, "rerank" | "reranking"]:
            return Route(OPERATIONS["rerank"], backend=backend)
        case _:
            return None


def _behind_v1(parts: list[str], *, backend: str | None, runner: str | None) -> Route | None:
    if "v1" not in parts[:4]:
        return None
    operation = OPERATIONS.get("/".join(parts[parts.index("v1") + 1 :]))
    return None if operation is None else Route(operation, backend, runner)
