"""Code that nothing in the daemon uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vulture import Vulture

from tests.rules.sources import ROOT, listed, sources

_KINDS = frozenset({"class", "function", "import", "method", "unreachable_code"})
"""Fields are left out: of what is decoded from outside, not every member is read by its name."""

_DECORATORS = ["@ROUTES.*", "@field_validator*", "@model_validator*"]  # what these take is called


def unused_code() -> Iterator[str]:
    """Every class, function, method and import is used by the daemon itself, or on the list of what
    others use: libraries that call it, the command line by its name, the tests.
    """
    known = listed("used_by_others.txt")
    finder = Vulture(ignore_decorators=_DECORATORS)
    finder.scavenge([ROOT / source.path for source in sources()])
    unused = set()
    for item in finder.get_unused_code(min_confidence=60):
        path = Path(item.filename).relative_to(ROOT)
        name = f"{path}: {item.name}"
        if item.typ in _KINDS:
            unused.add(name)
            if name not in known:
                yield f"{path}:{item.first_lineno}: {item.typ} {item.name} is not used"
    for name in sorted(known - unused):
        yield f"used_by_others.txt: {name} is used, or gone; take it out"
