"""A model that there is not is told with those that are spelt alike."""

from __future__ import annotations

import re
from http.client import NOT_FOUND
from typing import Any

from runnerd.cli.client import Client, DaemonError
from runnerd.cli.command_parser import near
from runnerd.cli.tables import familiar
from runnerd.errors import RunnerdError

_MISSING = re.compile(r"model '([^']+)' not found")


def explained(error: RunnerdError, host: str | None) -> str:
    """An error's message; where a model is missing, with the names that may have been meant.

    The daemon is not asked to compare names for everybody who sends some: this command is.
    """
    missing = _MISSING.match(error.message)
    if missing is None or not isinstance(error, DaemonError) or error.answer_status != NOT_FOUND:
        return error.message
    try:
        models: list[dict[str, Any]] = Client(host).json("GET", "/models")
    except DaemonError:
        return error.message
    known = [familiar(tag) for model in models for tag in model.get("tags", [])]
    return error.message + near(familiar(missing[1]), known)
