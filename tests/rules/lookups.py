"""Who looks models, runners, requests and transfers up for somebody asks what there is for them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.rules.sources import Source, sources

_ROOMS = ("runnerd.api.", "runnerd.relay.")
_DIRECT = {
    r"store\.(?:get|list|identify|catalog)\b": "api.context.models_of or relay.visible_models",
    r"supervisor\.reports\(": "api.visible_runners",
    r"pulls\.active\(": "api.visible_transfers",
}
_ALLOWED = {
    "runnerd.api.host",  # only counts
    "runnerd.api.models",  # purging, which is the owner's
    "runnerd.api.removal",  # which is the owner's
    "runnerd.api.ollama.creation",  # the owner's, too
    "runnerd.api.visible_runners",
    "runnerd.api.visible_transfers",
    "runnerd.relay.visible_models",
}


def lookups() -> Iterator[str]:
    """What is looked up for a request is looked up as its principal may see it."""
    for source in sources():
        if source.module.startswith(_ROOMS) and source.module not in _ALLOWED:
            yield from _in(source)


def _in(source: Source) -> Iterator[str]:
    for number, line in enumerate(source.text.splitlines(), 1):
        for direct, instead in _DIRECT.items():
            if re.search(direct, line):
                yield f"{source.path}:{number}: not all of that is for everybody; use {instead}"
