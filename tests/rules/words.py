"""Words that the code does not use any more, since they were our own or meant several things.

`docs/glossary.md` has the words that took their place.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

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
# What makes "answer" a noun, in a comment or text; as a verb it stays.
_NOUN = re.compile(
    r"\b(?:an|the|its|whose|their|his|of|in|with|without|from|interim|first|last|each|every|one|long"
    r"|early|late|several|HTTP|[A-Za-z]+'s)\s+(?:(?:#|//)\s+)?answers?\b"
)
# ProtoLLM has a key and a setting of that name.
_ANSWERS_OF_OTHERS = (
    "runnerd/jobs/fleet/protollm/",
    "runnerd/jobs/fleet/result_store.py",
    "docs/fleet.md",
)
_FOUND = re.compile(rf"(?<![A-Za-z])_?({'|'.join(RETIRED)})(?![a-z])", re.IGNORECASE)


def retired_words() -> Iterator[str]:
    """No name, comment, docstring or page of the documentation uses a retired word."""
    for source in sources():
        yield from _in(str(source.path), source.text)
    for page in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]:
        if page.name != "glossary.md":
            yield from _in(str(page.relative_to(ROOT)), page.read_text())


def answers() -> Iterator[str]:
    """What comes back is a response: no text and no name says "answer" for it."""
    for source in sources():
        yield from _answers_in(str(source.path), source.text, source.tree)
    for page in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", *_settings_and_scripts()]:
        yield from _answers_in(str(page.relative_to(ROOT)), page.read_text(), None)


def log_subjects() -> Iterator[str]:
    """A line of the log names its subject first: not "what drivers compile is not kept"."""
    for source in sources():
        for node in ast.walk(source.tree):
            if not (isinstance(node, ast.Call) and ast.unparse(node.func).startswith("log.")):
                continue
            text = node.args[0] if node.args else None
            if isinstance(text, ast.Constant) and str(text.value).startswith("what "):
                yield f"{source.path}:{node.lineno}: {text.value!r} does not name its subject"


def _settings_and_scripts() -> list[Path]:
    return [*(ROOT / "systemd").glob("*.toml"), *(ROOT / "runnerd" / "web").glob("*.js")]


def _answers_in(path: str, text: str, tree: ast.Module | None) -> Iterator[str]:
    if path.startswith(_ANSWERS_OF_OTHERS) or path == "docs/glossary.md":
        return
    lines = {text.count("\n", 0, found.start()) + 1 for found in _NOUN.finditer(text)}
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Name | ast.arg) and _name(node) in ("answer", "answers"):
            lines.add(node.lineno)
    for line in sorted(lines):
        yield f"{path}:{line}: answer is a verb; the word for what comes back is response"


def _name(node: ast.Name | ast.arg) -> str:
    return node.id if isinstance(node, ast.Name) else node.arg


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
