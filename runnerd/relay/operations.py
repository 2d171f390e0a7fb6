"""What engines do: the operations of inference, by the names that they have in OpenAI's API."""

from __future__ import annotations

from dataclasses import dataclass

from runnerd.access import Action
from runnerd.backends.configuration import BackendMode


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that an engine does.  `name` is the path behind /v1/.

    `mode` None means: whatever the model is for.  `assembles` says that the engine streams this
    operation in OpenAI's chunks, so that a whole response can be put together from a stream.
    `needs` is a capability that the model must have besides, `action` what who asks must be allowed
    to do.  `computes` says that it takes the engine's working thread, which may hang while others
    still respond to what needs only words.
    """

    name: str
    engine_path: bytes
    mode: BackendMode | None
    action: Action
    assembles: bool = False
    needs: str | None = None
    computes: bool = True


def _operation(
    name: str,
    mode: BackendMode | None,
    *,
    path: str = "",
    assembles: bool = False,
    needs: str | None = None,
    computes: bool = True,
) -> Operation:
    return Operation(
        name, (path or f"/v1/{name}").encode(), mode, Action.USE_MODEL, assembles, needs, computes
    )


_COMPLETION = BackendMode.COMPLETION
OPERATIONS = {
    operation.name: operation
    for operation in (
        _operation("chat/completions", _COMPLETION, assembles=True),
        _operation("completions", _COMPLETION, assembles=True),
        _operation("responses", _COMPLETION),
        _operation("messages", _COMPLETION),
        _operation("messages/count_tokens", _COMPLETION, computes=False),
        _operation("audio/transcriptions", _COMPLETION, path="/v1/chat/completions", needs="audio"),
        _operation("infill", _COMPLETION, path="/infill"),
        _operation("apply-template", _COMPLETION, path="/apply-template", computes=False),
        _operation("tokenize", None, path="/tokenize", computes=False),
        _operation("detokenize", None, path="/detokenize", computes=False),
        _operation("embeddings", BackendMode.EMBEDDING),
        _operation("rerank", BackendMode.RERANKING),
        _operation("reranking", BackendMode.RERANKING, path="/v1/rerank"),
    )
}


ENGINE_ROUTES = {
    path: operation.engine_path.decode()
    for operation in OPERATIONS.values()
    if operation.needs is None  # such a request is rewritten before an engine sees it
    for path in (f"/v1/{operation.name}", operation.engine_path.decode())
}
"""What a runner offers on its own socket: the same operations, in the engine's own words."""
