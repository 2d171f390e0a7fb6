"""What GridRepublic's clients submit: an application's name, a command line that is JSON, a tag."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from runnerd.api.context import text_field
from runnerd.errors import ClientError

APPLICATION = "gridrepublic:text-inference"

_MOST_INPUTS, _MOST_COPIES = 1000, 100
_HOURS = 1.0  # that a job may run where none are said
_MOST_HOURS = 24.0 * 365
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'")


@dataclass(frozen=True, slots=True)
class Submission:
    """A job as it was submitted; `hours` is how long it may run."""

    app: str
    command_line: str
    inputs: tuple[str, ...]
    tag: str
    hours: float
    copies: int


def read(document: dict[str, Any]) -> Submission:
    """What was submitted.  Raises errors.ClientError."""
    app = text_field(document, "app", required=True) or ""
    if app != APPLICATION:
        raise ClientError(f"there is no app {app[:100]!r}; the only one is {APPLICATION!r}")
    command_line = text_field(document, "commandLine", required=True) or ""
    return Submission(
        app,
        command_line,
        _inputs(command_line),
        text_field(document, "tag", required=True) or "",
        _number(document, "hours", _HOURS, _MOST_HOURS),
        int(_number(document, "copies", 1, _MOST_COPIES, whole=True)),
    )


def _inputs(command_line: str) -> tuple[str, ...]:
    said = _decoded(command_line)
    inputs = said.get("inputs", said.get("input")) if isinstance(said, dict) else None
    if isinstance(inputs, str):
        inputs = [inputs]
    if (
        not isinstance(inputs, list)
        or not inputs
        or not all(isinstance(each, str) and each for each in inputs)
    ):
        raise _wrong('commandLine is JSON like {"inputs": ["a prompt"]}')
    if len(inputs) > _MOST_INPUTS:
        raise _wrong(f"at most {_MOST_INPUTS} inputs in one job")
    return tuple(inputs)


def _decoded(text: str) -> Any:
    """JSON, or what earlier versions of their documentation wrote: the same in single quotes."""
    for said in (text, _QUOTED.sub(lambda found: _in_double_quotes(found[1]), text)):
        try:
            return msgspec.json.decode(said)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            continue
    return None


def _in_double_quotes(inner: str) -> str:
    return '"' + inner.replace("\\'", "'").replace('"', '\\"') + '"'


def _number(
    document: dict[str, Any], name: str, usual: float, most: float, *, whole: bool = False
) -> float:
    value = document.get(name)
    if value is None:
        return usual
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value <= most:
        raise _wrong(f"{name} is a number above 0 and at most {most:g}")
    return float(value)


def _wrong(why: str) -> ClientError:
    return ClientError(f"Invalid input format: {why}")
