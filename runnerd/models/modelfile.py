"""What a model's maker set for its use: system prompt, parameters, first messages, Go template.

Ollama keeps each in a layer of its own and so do we, under its media types; a model that is copied,
pushed or pulled brings them along.  They are read once, when the model comes in, and kept in its
description, so that a request finds them in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from runnerd.errors import InvalidModelFile

GO_TEMPLATE_TYPE = "application/vnd.ollama.image.template"
SYSTEM_TYPE = "application/vnd.ollama.image.system"
PARAMETERS_TYPE = "application/vnd.ollama.image.params"
MESSAGES_TYPE = "application/vnd.ollama.image.messages"

LONGEST_TEXT = 2**20
"""Bytes of one such layer."""

MOST_MESSAGES = 1000

Parameter = bool | int | float | str | list[str]

OPTIONS: dict[str, type] = {
    "frequency_penalty": float,
    "min_p": float,
    "num_ctx": int,
    "num_keep": int,
    "num_predict": int,
    "presence_penalty": float,
    "repeat_last_n": int,
    "repeat_penalty": float,
    "seed": int,
    "stop": list,
    "temperature": float,
    "top_k": int,
    "top_p": float,
    "typical_p": float,
    "draft_num_predict": int,
    "main_gpu": int,
    "num_batch": int,
    "num_gpu": int,
    "num_thread": int,
    "use_mmap": bool,
}
"""Ollama's options and the types that it demands, in parameters and in requests."""

_KINDS = {float: "a number", int: "a whole number", bool: "true or false", list: "texts"}


class Remark(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of the conversation that every conversation with the model begins with."""

    role: str
    content: str = ""


@dataclass(frozen=True, slots=True)
class Modelfile:
    """Everything that was set; what was not is empty.  `template` is in Go's language."""

    template: str = ""
    system: str = ""
    parameters: dict[str, Parameter] = field(default_factory=dict)
    messages: tuple[Remark, ...] = ()

    @property
    def context_size(self) -> int | None:
        """The context asked for, in tokens."""
        asked = self.parameters.get("num_ctx")
        return asked if type(asked) is int and asked > 0 else None


def read_modelfile(types: Sequence[str], files: Sequence[Path], names: Sequence[str]) -> Modelfile:
    """What the layers of these media types, which lie in `files`, set.

    Raises errors.InvalidModelFile.
    """
    found: dict[str, Any] = {}
    for kind, file, name in zip(types, files, names, strict=True):
        if kind == GO_TEMPLATE_TYPE:
            found["template"] = _text(file, name)
        elif kind == SYSTEM_TYPE:
            found["system"] = _text(file, name)
        elif kind == PARAMETERS_TYPE:
            found["parameters"] = _decoded(file, name, dict[str, Parameter])
        elif kind == MESSAGES_TYPE:
            found["messages"] = _decoded(file, name, tuple[Remark, ...])
    try:
        found["parameters"] = checked_options(found.get("parameters", {}))
    except ValueError as error:
        raise InvalidModelFile(f"the model's parameters cannot be used: {error}") from error
    if len(found.get("messages", ())) > MOST_MESSAGES:
        raise InvalidModelFile(f"the model has more than {MOST_MESSAGES} messages")
    return Modelfile(**found)


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options without nulls, known ones in their types; unknown ones stay as they are.

    Raises ValueError, which names the option.
    """
    return {
        name: _checked(name, value, OPTIONS.get(name))
        for name, value in options.items()
        if value is not None
    }


def _checked(name: str, value: Any, kind: type | None) -> Any:
    if kind is list:
        texts = [value] if isinstance(value, str) else value
        if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
            return texts
    elif kind is float and type(value) in (int, float):
        return value
    elif kind is int and type(value) is float and value.is_integer() and abs(value) < 2**53:
        return int(value)  # Ollama's clients write whole numbers so
    elif kind is None or type(value) is kind:
        return value
    raise ValueError(f"{name} must be {_KINDS[kind]}")


def _text(file: Path, name: str) -> str:
    content = _bytes(file, name)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidModelFile(f"{name} is not UTF-8 text") from error


def _decoded(file: Path, name: str, type: Any) -> Any:
    try:
        return msgspec.json.decode(_bytes(file, name), type=type)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidModelFile(f"{name} cannot be read: {error}") from error


def _bytes(file: Path, name: str) -> bytes:
    with open(file, "rb") as opened:
        content = opened.read(LONGEST_TEXT + 1)
    if len(content) > LONGEST_TEXT:
        raise InvalidModelFile(f"{name} has more than {LONGEST_TEXT} bytes of text")
    return content
