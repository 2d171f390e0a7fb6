"""Words that the code does not use any more, since they were our own or meant several things.

`docs/glossary.md` has the words that took their place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.rules.sources import ROOT, Source, sources

RETIRED = {
    "arranger": "capacity planner",
    "arrivals": "pending models",
    "foresight": "configuration checks",
    "machinery": "exchange context",
    "prefaces?": "prompt prefix",
    "recollection": "slot persistence",
    "redial": "connect retry",
    "redraw(?:n|ing)?": "transcode",
    "refrain": "repeated event",
    "rephras(?:ed|ing)": "retry rewrite",
    "suspects?": "quarantine",
    "victims?": "eviction",
    "wish(?:es)?": "request",
}
_FOUND = re.compile(rf"(?<![A-Za-z])_?({'|'.join(RETIRED)})(?![a-z])", re.IGNORECASE)


def retired_words() -> Iterator[str]:
    """No name, comment, docstring or page of the documentation uses a retired word."""
    for source in sources():
        yield from _in(str(source.path), source.text)
    for page in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]:
        if page.name != "glossary.md":
            yield from _in(str(page.relative_to(ROOT)), page.read_text())


def _in(path: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        for found in _FOUND.finditer(line):
            word = found[1].lower()
            instead = next(new for old, new in RETIRED.items() if re.fullmatch(old, word))
            yield f"{path}:{number}: {found[1]} is retired; the word is {instead}"


def docstrings() -> Iterator[str]:
    """No docstring begins with "Return what": it says what a thing is."""
    for source in sources():
        for number, line in enumerate(source.text.splitlines(), 1):
            if '"""Return what' in line:
                yield f'{source.path}:{number}: a docstring that begins "Return what"'


def in_source(source: Source) -> list[str]:
    """What the rule of words says of one source; for its test."""
    return list(_in(str(source.path), source.text))
