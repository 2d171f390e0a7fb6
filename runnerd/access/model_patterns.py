"""Which models a user may use, by patterns of their names.

A pattern is a name with `*` and `?` in it, in any case: `ai/*`, `smollm2:*`, `hf.co/org/*`.  As in
a reference the organisation `ai/` and the tag `:latest` can be left out, so `smollm2` is
`ai/smollm2:latest` and nothing else.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from functools import lru_cache

_ORGANISATION = "ai/"
_TAG = ":latest"
_SCHEMES = ("https://", "http://")
_ALIASES = (
    ("hf.co/", "huggingface.co/"),
    ("www.hf.co/", "huggingface.co/"),
    ("www.huggingface.co/", "huggingface.co/"),
    ("docker.io/", ""),
    ("index.docker.io/", ""),
)


Patterns = tuple[str, ...]


@lru_cache(maxsize=4096)
def granted(patterns: Patterns, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of a model's names that some pattern is for."""
    found = _compiled(patterns)
    return tuple(name for name in names if any(map(found, _spellings(name))))


@lru_cache(maxsize=512)
def _compiled(patterns: Patterns) -> Callable[[str], re.Match[str] | None]:
    texts = (fnmatch.translate(_expanded(pattern.casefold())) for pattern in patterns)
    return re.compile("|".join(texts)).match


def _expanded(pattern: str) -> str:
    """A pattern with the registries' names as models have them, also from a page's address."""
    for scheme in _SCHEMES:
        pattern = pattern.removeprefix(scheme)
    for alias, name in _ALIASES:
        if pattern.startswith(alias):
            return name + pattern.removeprefix(alias)
    return pattern


def _spellings(name: str) -> tuple[str, ...]:
    """A name with and without what can be left out."""
    whole = name.casefold()
    short = whole.removesuffix(_TAG)
    return (whole, short, whole.removeprefix(_ORGANISATION), short.removeprefix(_ORGANISATION))
