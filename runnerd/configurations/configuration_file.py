"""The file that keeps configurations: a JSON list of entries, one for each model and mode.

It is rewritten whole, to a temporary name, fsynced and renamed.  An entry that cannot be read, as
one that a newer version wrote or somebody mistyped, is moved into a file beside it, so that it
takes nothing with it and is not lost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from runnerd import durable
from runnerd.backends.configuration import BackendMode
from runnerd.configurations.model_configuration import ConfigurationKey, validated
from runnerd.errors import InvalidConfiguration
from runnerd.regular import Unusable, free_name, read

WHAT = "what is configured per model"
"""What people call the file."""

Documents = dict[ConfigurationKey, dict[str, Any]]

_MOST_BYTES = 64 * 2**20
_SHOWN = 200  # characters of a problem


class Content(NamedTuple):
    """What is in the file: what can be used, what cannot, and the first problem of that."""

    documents: Documents
    damaged: tuple[Any, ...] = ()
    problem: str = ""


def load(file: Path) -> Content:
    """Read the file; one that is not there counts as empty.

    Raises OSError, and Unusable for what has no entry that can be used.
    """
    try:
        content = read(file, most=_MOST_BYTES)
    except FileNotFoundError:
        return Content({})
    try:
        entries = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _damaged(file, str(error)) from error
    if not isinstance(entries, list):
        raise _damaged(file, "it is no list")
    documents: Documents = {}
    damaged: list[Any] = []
    problem = ""
    for entry in entries:
        try:
            key, document = _read_entry(entry)
        except (ValueError, KeyError, TypeError, RecursionError, InvalidConfiguration) as error:
            problem = problem or _in_words(entry, error)
            damaged.append(entry)
        else:
            documents[key] = document
    if damaged and not documents:
        raise _damaged(file, problem)
    return Content(documents, tuple(damaged), problem)


def save(file: Path, documents: Documents) -> None:
    """Replace the file.  Raises as durable.replace."""
    durable.replace(
        file, _encoded([_entry(key, documents[key]) for key in sorted(documents)]), what=WHAT
    )


def part(file: Path, content: Content) -> Path:
    """Move damaged entries into a file of their own and return its path.

    First they are written there, then the others are written here: whenever that ends, nothing is
    lost.  Raises OSError, and as durable.replace.
    """
    aside = free_name(file)
    durable.write_new(aside, _encoded(list(content.damaged)))
    save(file, content.documents)
    return aside


def _read_entry(entry: Any) -> tuple[ConfigurationKey, dict[str, Any]]:
    mode = BackendMode(entry["mode"])
    key = ConfigurationKey(str(entry["backend"]), str(entry["model"]), mode)
    validated(entry["configuration"])
    return key, entry["configuration"]


def _entry(key: ConfigurationKey, document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "backend": key.backend,
        "model": key.model,
        "mode": key.mode.value,
        "configuration": document,
    }


def _encoded(entries: list[Any]) -> bytes:
    return json.dumps(entries, indent=1).encode()


def _in_words(entry: Any, error: Exception) -> str:
    whose = entry.get("model") if isinstance(entry, dict) else None
    what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
    return f"that of {str(whose)[:80]}: {what[:_SHOWN]}" if whose else what[:_SHOWN]


def _damaged(file: Path, problem: str) -> Unusable:
    return Unusable(file, f"their content is damaged ({problem[:_SHOWN]})")
