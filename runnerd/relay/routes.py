"""Which paths are inference, and what they ask of an engine.

The same operations are offered under several prefixes: `/engines/{backend}/v1/`, `/engines/v1/`,
`/v1/`, `/openai/v1/`, and bound to one runner under `/runners/{id}/v1/`.  Whatever is not in this
table belongs to the control plane.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from runnerd.access import Action
from runnerd.backends.configuration import BackendMode
from runnerd.relay.dialect import Dialect
from runnerd.relay.error_formats import OPENAI, ErrorFormat
from runnerd.relay.operations import OPERATIONS, Operation

DESKTOP_PREFIX = "/exp/vDD4.40"
"""What Docker Desktop's socket puts before every route (seed 004); stripped on the Unix socket."""

V1_PREFIXES = ("/v1", "/openai/v1", "/engines/v1", "/engines/llama.cpp/v1")
"""Where OpenAI's API is offered, for dialects that have routes in it."""


@dataclass(frozen=True, slots=True)
class Route:
    """An operation as a path names it: on a backend (None: the default one), or on one runner.

    With a dialect, `operation` is what its requests are counted as; each says what it needs.
    Errors are told in `error_format`.  `untyped`: whose users write no Content-Type.  `also` is
    another action that a request may turn out to be; `rewrites`: its bodies are put otherwise.
    """

    operation: Operation
    backend: str | None = None
    runner: str | None = None
    dialect: Dialect | None = None
    error_format: ErrorFormat = OPENAI
    media_type: bytes = b"application/json"
    untyped: bool = False
    also: Action | None = None
    rewrites: bool = field(init=False)

    def __post_init__(self) -> None:
        reads = self.dialect is not None or self.operation.mode is BackendMode.RERANKING
        object.__setattr__(self, "rewrites", reads)


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


def templates() -> dict[str, Operation]:
    """Every path that `find` knows, with {names} for what may be anything; to describe them."""
    prefixes = ("/v1", "/openai/v1", "/engines/v1", "/engines/{backend}/v1", "/runners/{runner}/v1")
    found = {
        f"{prefix}/{name}": operation
        for prefix in prefixes
        for name, operation in OPERATIONS.items()
    }
    for prefix in ("", "/v2", "/engines", "/engines/{backend}"):
        for name in ("rerank", "reranking"):
            found[f"{prefix}/{name}"] = OPERATIONS["rerank"]
    return found
