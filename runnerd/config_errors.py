"""What is wrong with settings and configurations, in words: one text for all of them."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import ValidationError


class WrongField(NamedTuple):
    """One problem: `where` is the field ("" for all of it), `what` is wrong with it."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


def wrong_fields(error: ValidationError) -> list[WrongField]:
    """Every problem that pydantic found, in the order of the fields."""
    return [
        WrongField(
            ".".join(str(part) for part in problem["loc"]),
            problem["msg"].removeprefix("Value error, "),
        )
        for problem in error.errors()
    ]


def wrong_settings(where: str, error: ValidationError) -> str:
    """The message for wrong settings in `where`: one line for each problem."""
    lines = [f"  {field}" for field in wrong_fields(error)]
    return f"wrong settings{where}:\n" + "\n".join(lines)
