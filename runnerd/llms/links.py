"""`pantry://download/...`: a registry entry as a link, in base64."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote

from runnerd.errors import InvalidReference
from runnerd.llms.entry import MOST_BYTES, LLMRegistryEntry, encoded, parse_entry

_SCHEME = "pantry://"
_DOWNLOAD = f"{_SCHEME}download/"


def is_link(text: str) -> bool:
    """Whether a text is one of Pantry's links, of whatever kind."""
    return text.strip()[: len(_SCHEME)].lower() == _SCHEME


def parse_link(text: str) -> LLMRegistryEntry:
    """The entry that a link is for.  Raises errors.InvalidReference, ClientError."""
    text = text.strip()
    if text[: len(_DOWNLOAD)].lower() != _DOWNLOAD:
        raise InvalidReference(
            "of Pantry's links only pantry://download/ENTRY names a model", param="model"
        )
    if len(text) > 2 * MOST_BYTES:
        raise InvalidReference("the link is too long", param="model")
    # Both alphabets of base64, escaped or not, with or without its padding: browsers differ.
    data = unquote(text[len(_DOWNLOAD) :]).rstrip("/=").replace("-", "+").replace("_", "/")
    try:
        document = base64.b64decode(data + "=" * (-len(data) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidReference(f"the link cannot be read: {error}", param="model") from error
    return parse_entry(document)


def link_of(entry: LLMRegistryEntry) -> str:
    """The link for an entry."""
    return _DOWNLOAD + base64.b64encode(encoded(entry).encode()).decode()
