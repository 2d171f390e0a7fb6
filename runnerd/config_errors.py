"""What is wrong with settings and configurations, in words: one text for all of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NamedTuple

from pydantic import ValidationError


class WrongField(NamedTuple):
    """One problem: `where` is the field ("" for all of it), `what` is wrong with it."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


def wrong_fields(error: ValidationError, known: Iterable[str] = ()) -> list[WrongField]:
    """Every problem that pydantic found, in the order of the fields.

    `known` are the fields there are; of one that there is not, the nearest of them is named.
    """
    names = list(known)
    return [
        WrongField(
            ".".join(str(part) for part in problem["loc"]),
            _no_such_setting(str(problem["loc"][-1]), names)
            if problem["type"] == "extra_forbidden"
            else problem["msg"].removeprefix("Value error, "),
        )
        for problem in error.errors()
    ]


def _no_such_setting(name: str, known: list[str]) -> str:
    if not known:
        return "there is no such field"
    near = difflib.get_close_matches(name, known, 1)
    meant = f"; is {near[0]} meant?" if near else "; `runnerd settings` lists them"
    return f"there is no such setting{meant}"


def wrong_settings(where: str, error: ValidationError, known: Iterable[str] = ()) -> str:
    """The message for wrong settings in `where`: one line for each problem."""
    lines = [f"  {field}" for field in wrong_fields(error, known)]
    return f"wrong settings{where}:\n" + "\n".join(lines)
