"""Loading a model before anybody asks it: as a request that generates nothing."""

from __future__ import annotations

import msgspec

from runnerd.access import Principal
from runnerd.backends.configuration import BackendMode
from runnerd.models.catalog import Catalog
from runnerd.relay.exchanges import Exchanges
from runnerd.relay.model_modes import modes
from runnerd.supervisor import Supervisor

_PATHS = {
    BackendMode.COMPLETION: "/v1/chat/completions",
    BackendMode.EMBEDDING: "/v1/embeddings",
    BackendMode.RERANKING: "/v1/rerank",
}


async def preload(
    exchanges: Exchanges, supervisor: Supervisor, models: Catalog, principal: Principal, name: str
) -> None:
    """Load one of `models` for its own purpose, and wait until it is ready.

    Raises the errors that a client would be told.
    """
    mode = BackendMode.COMPLETION
    if not supervisor.keys.backend(None).uses_external_model_management:
        mode = next(iter(modes(models.get(name).capabilities)), mode)
    body = msgspec.json.encode({"model": name})
    await exchanges.collected(_PATHS[mode], body, principal, preload_only=True)
