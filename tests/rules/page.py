"""The page's files: how large they may be, and what must not be in them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.rules.sources import ROOT

MOST_BYTES = 150 * 1000
FOLDER = ROOT / "runnerd" / "web"
_KINDS = {".html", ".css", ".js", ".svg"}
# What makes elements, code or requests of texts.  The policy that they are served with refuses most
# of it, too (`api/page`).
_REFUSED = {
    r"\.(inner|outer)HTML\b": "see dom.js",
    r"insertAdjacentHTML|document\.write|createContextualFragment|DOMParser": "see dom.js",
    r"\beval\(|new Function|set(Timeout|Interval)\(\s*[\"'`]": "no code is made of texts",
    r"\son[a-z]+\s*=\s*[\"']": "handlers are functions",
    r"<style|\bstyle\s*=\s*[\"']": "styles are in style.css",
    r"<script(?![^>]*\bsrc=)": "scripts are files",
    r"(?:src|href)\s*=\s*[\"'](?:https?:)?//": "nothing is fetched from other hosts",
    r":[^;{}\n]*\burl\(|@import": "nothing is fetched by styles",
    r"(?<![\w/])(?:from|import)\s*\(?\s*[\"'](?!\./)": "modules are beside each other",
}


def page_files() -> Iterator[str]:
    """The page is small, fetches nothing from elsewhere, and makes no elements of texts."""
    files = sorted(FOLDER.iterdir())
    size = sum(path.stat().st_size for path in files)
    if size > MOST_BYTES:
        yield f"runnerd/web has {size} bytes, {MOST_BYTES} are allowed"
    for path in files:
        if path.suffix not in _KINDS:
            yield f"runnerd/web/{path.name}: no such files"
            continue
        yield from breaches(path.name, path.read_text())


def breaches(name: str, text: str) -> Iterator[str]:
    """What is refused in a file."""
    for pattern, why in _REFUSED.items():
        for found in re.finditer(pattern, text):
            line = text.count("\n", 0, found.start()) + 1
            yield f"runnerd/web/{name}:{line}: {found[0].strip()}: {why}"
