"""Looks for models on the hub: repositories that have GGUF files, by words."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from yarl import URL

from runnerd.errors import SourceFailure
from runnerd.outbound.client import Outbound, read_capped

MOST = 100
_MOST_BYTES = 4 * 2**20
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Found:
    """A repository.  `gated`: its files take an account that has accepted its terms."""

    name: str
    downloads: int
    likes: int
    gated: bool
    modified: str


class _Repository(msgspec.Struct):
    id: str
    downloads: int = 0
    likes: int = 0
    gated: bool | str = False
    lastModified: str = ""


async def search(http: Outbound, endpoint: str, words: str, limit: int) -> list[Found]:
    """The repositories that the hub names first.

    Raises errors.SourceFailure, SourceTimeout, Forbidden where the hub cannot be asked.
    """
    query = {
        "search": words, "filter": "gguf", "limit": str(limit), "sort": "downloads",
        "direction": "-1", "full": "true",
    }  # fmt: skip
    url = URL(endpoint.rstrip("/") + "/api/models").with_query(query)
    async with http.request("GET", url) as response:
        if response.status != 200:
            raise SourceFailure(f"the hub at {url.host} answered {response.status} to a search")
        raw = await read_capped(response, _MOST_BYTES)
    try:
        found = msgspec.json.decode(raw, type=list[_Repository])
    except msgspec.MsgspecError as error:
        raise SourceFailure(f"{url.host} does not answer a search as the hub does") from error
    return [
        Found(each.id, each.downloads, each.likes, bool(each.gated), each.lastModified[:40])
        for each in found[:limit]
        if len(each.id) <= _LONGEST_NAME and each.id.isprintable()
    ]
