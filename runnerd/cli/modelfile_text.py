"""Ollama's Modelfile as text: what `runnerd create -f` reads.

Instructions are words at the beginning of a line, in any case; what they are given stands behind
them, in quotes or between triple quotes if it has several lines.  `#` begins a comment.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from runnerd.errors import ClientError

_INSTRUCTION = re.compile(r"\s*([A-Za-z]+)(?:[ \t]+|$)")
_FENCE = '"""'
_ROLES = ("system", "user", "assistant")


@dataclass
class ModelfileText:
    """What a Modelfile says; `base` is FROM, a model's name or the path of a file."""

    base: str = ""
    adapters: list[str] = field(default_factory=list)
    template: str = ""
    system: str = ""
    licenses: list[str] = field(default_factory=list)
    parameters: dict[str, object] = field(default_factory=dict)
    messages: list[dict[str, str]] = field(default_factory=list)


def parse_modelfile(text: str) -> ModelfileText:
    """Read a Modelfile.  Raises errors.ClientError with the number of the line."""
    found = ModelfileText()
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        line, begins = lines[number], number + 1
        number += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        instruction = _INSTRUCTION.match(line)
        if instruction is None:
            raise ClientError(f"line {begins}: {line.strip()[:60]!r} is no instruction")
        name, rest = instruction[1].upper(), line[instruction.end() :]
        while rest.count(_FENCE) == 1:
            if number == len(lines):
                raise ClientError(f'line {begins}: {name} begins with """ and does not end')
            rest += "\n" + lines[number]
            number += 1
        _apply(found, name, rest.strip(), begins)
    if not found.base:
        raise ClientError("there is no FROM: a Modelfile says which model it is made of")
    return found


def _apply(found: ModelfileText, name: str, rest: str, line: int) -> None:
    if not rest:
        raise ClientError(f"line {line}: {name} is given nothing")
    match name:
        case "FROM":
            found.base = _unquoted(rest)
        case "ADAPTER":
            found.adapters.append(_unquoted(rest))
        case "TEMPLATE":
            found.template = _unquoted(rest)
        case "SYSTEM":
            found.system = _unquoted(rest)
        case "LICENSE":
            found.licenses.append(_unquoted(rest))
        case "PARAMETER":
            _parameter(found, rest, line)
        case "MESSAGE":
            _message(found, rest, line)
        case "REQUIRES":
            pass  # a version of Ollama
        case _:
            raise ClientError(f"line {line}: there is no instruction {name}")


def _parameter(found: ModelfileText, rest: str, line: int) -> None:
    name, _, value = rest.partition(" ")
    name, value = name.lower(), _unquoted(value.strip())
    if not value:
        raise ClientError(f"line {line}: PARAMETER {name} is given no value")
    if name == "stop":
        stops = found.parameters.setdefault("stop", [])
        assert isinstance(stops, list)
        stops.append(value)
        return
    try:
        found.parameters[name] = json.loads(value)
    except ValueError:
        found.parameters[name] = value


def _message(found: ModelfileText, rest: str, line: int) -> None:
    role, _, content = rest.partition(" ")
    if role.lower() not in _ROLES:
        raise ClientError(f"line {line}: MESSAGE is of system, user or assistant, not {role!r}")
    found.messages.append({"role": role.lower(), "content": _unquoted(content.strip())})


def _unquoted(text: str) -> str:
    """A value without its quotes."""
    if text.startswith(_FENCE) and text.endswith(_FENCE) and len(text) >= 2 * len(_FENCE):
        return text[len(_FENCE) : -len(_FENCE)].strip("\n")
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return text[1:-1]
    return text
