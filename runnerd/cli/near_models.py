"""A model that is not here is told with those that are spelt alike, before anything else."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from http.client import BAD_GATEWAY, NOT_FOUND
from typing import Any

from runnerd.cli.client import Client, DaemonError
from runnerd.cli.command_parser import near
from runnerd.cli.tables import familiar
from runnerd.errors import RunnerdError
from runnerd.models.reference import one_spelling

_MISSING = re.compile(r"model '([^']+)' not found")
_ANYWAY = re.compile(rf"{_MISSING.pattern}|this takes the permission ")


def explained(error: RunnerdError, host: str | None) -> str:
    """An error's message; where a model is missing, with the names that may have been meant.

    The daemon is not asked to compare names for everybody who sends some: this command is.
    """
    missing = _MISSING.match(error.message)
    if missing is None or not isinstance(error, DaemonError) or error.answer_status != NOT_FOUND:
        return error.message
    return error.message + near(one_spelling(missing[1]), names_here(Client(host)))


@contextlib.contextmanager
def sought_elsewhere(
    client: Client, names: Sequence[str], *, replaces: bool = True
) -> Iterator[None]:
    """Where getting models from elsewhere fails in this block, say first what may have been meant.

    Whoever mistypes the name of a model that is here would else read of a registry alone.  What
    `replaces` models says, too, that those stay that are here.
    """
    try:
        yield
    except RunnerdError as error:
        if _ANYWAY.match(error.message) or getattr(error, "answer_status", 1) == 0:
            raise  # told with near names anyway; it looked nowhere; or there is no daemon to ask
        here = names_here(client)
        if not replaces and all(one_spelling(name) in here for name in names):
            raise
        status = getattr(error, "answer_status", BAD_GATEWAY)
        raise DaemonError(_said(error.message, names, here), status) from error


def _said(reason: str, names: Sequence[str], here: Sequence[str]) -> str:
    missing = [name for name in names if one_spelling(name) not in here]
    if not missing:
        return f"{reason}; {' and '.join(names)} stays as it is here"
    hints = [f"model '{name}' is not here{near(one_spelling(name), here)}" for name in missing]
    said = "; ".join(hints)
    return f"{said}{' Looked' if said.endswith('?') else '; looked'} for elsewhere: {reason}"


def names_here(client: Client) -> list[str]:
    """What the models that are here are called; nothing where that is not told."""
    try:
        models: list[dict[str, Any]] = client.json("GET", "/models")
    except DaemonError:
        return []
    return [familiar(tag) for model in models for tag in model.get("tags", [])]
