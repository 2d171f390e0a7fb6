"""What the hub says of a repository: its model card's metadata, who it belongs to, its tags.

It comes with the list of files where a repository is pulled.  Where one of its files is fetched by
its address, as programs of Pantry do, the hub is asked for it.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import msgspec
from yarl import URL

from runnerd.errors import SourceFailure
from runnerd.models.reference import HUGGING_FACE, HUGGING_FACE_NAMES
from runnerd.outbound.client import Outbound, read_capped
from runnerd.pulls.published import Published, first, line, lines, tags

HOST, HOSTS = HUGGING_FACE, HUGGING_FACE_NAMES

_MOST_BYTES = 8 * 2**20  # of what is said without the list of files
_NAME = r"[A-Za-z0-9_.-]{1,96}"
_FILE = re.compile(rf"/({_NAME}/{_NAME})/(?:resolve|blob|raw)/([^/]+)/.+")
_LICENSE_TAG = "license:"
_UNNAMED = "other"  # a license that has its name in another field


class _Repository(msgspec.Struct):
    """Whatever a member is, it does not make the others unreadable."""

    author: Any = None
    tags: Any = None
    card: Any = msgspec.field(default=None, name="cardData")


def published(raw: bytes, repository: str) -> Published:
    """The hub's description of a repository; nothing is taken from bytes that are no JSON."""
    try:
        found = msgspec.json.decode(raw, type=_Repository)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = _Repository()
    card = found.card if isinstance(found.card, dict) else {}
    owner, _, name = repository.partition("/")
    return Published(
        name=line(card.get("model_name")) or name,
        organization=line(found.author) or owner,
        license=_license(card, found.tags),
        homepage=f"https://{HOST}/{repository}",
        tags=tags(found.tags),
    )


def _license(card: dict[str, Any], said: object) -> str:
    stated = lines(card.get("license"))
    named = line(card.get("license_name")) if stated in ("", _UNNAMED) else ""
    tagged = (
        line(tag.removeprefix(_LICENSE_TAG))
        for tag in (said if isinstance(said, list) else ())
        if isinstance(tag, str) and tag.startswith(_LICENSE_TAG)
    )
    return first((named, stated, *tagged))


def is_of_hub(url: URL, endpoint: str) -> bool:
    """Whether an address is the hub's, or that of the mirror which stands for it."""
    return url.host in HOSTS or url.origin() == URL(endpoint).origin()


async def published_at(http: Outbound, endpoint: str, url: URL) -> Published | None:
    """What the hub says of the repository that a file's address lies in, without credentials.

    None for another address.  Raises errors.SourceFailure, SourceTimeout, Forbidden.
    """
    match = _FILE.fullmatch(url.path)
    if match is None or ".." in match[1] or not is_of_hub(url, endpoint):
        return None
    repository, revision = match[1], quote(match[2], safe="")
    path = f"/api/models/{repository}/revision/{revision}"
    asked = URL(endpoint.rstrip("/") + path, encoded=True)
    async with http.request("GET", asked) as response:
        if response.status != 200:
            raise SourceFailure(f"the hub answered {response.status} for {repository}")
        return published(await read_capped(response, _MOST_BYTES), repository)
