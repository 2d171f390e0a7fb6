"""Which of its tools a model may or must call, in the three words that engines know.

OpenAI's clients may name the one tool that must be called, or some that may be; llama-server reads
either as "auto".  Asked for "none" it still shows the model every tool, and what that then calls is
the text of the response.  So the tools are chosen here: the engine gets those that may be called,
and "required" where one of them must be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from runnerd.errors import ClientError
from runnerd.relay.body import ABSENT, UNDECODABLE, UNSAID, undecodable
from runnerd.relay.parsed_request import ParsedRequest
from runnerd.relay.request_rewrites.tool_functions import name_of

_WORDS = ("auto", "none", "required")
_AS_IT_IS = (*ABSENT, msgspec.Raw(b'"auto"'), msgspec.Raw(b'"required"'))

_tools = msgspec.json.Decoder(list[dict[str, Any]] | None).decode


class Choice(NamedTuple):
    """What may be called; `named` None: all tools.  `word` is one of the engine's."""

    word: str
    named: tuple[str, ...] | None = None

    def of(self, tools: Sequence[Any]) -> list[Any]:
        """Return those of a request's tools that the model is shown.  Raises errors.ClientError."""
        if self.word == "none":
            return []
        if self.named is None:
            return list(tools)
        names = {name_of(tool) for tool in tools}
        for name in self.named:
            if name not in names:
                raise _unusable(f"names {name[:120]!r}, which is none of the tools")
        return [tool for tool in tools if name_of(tool) in self.named]


def choice_of(value: object) -> Choice:
    """What a `tool_choice` says, in either of OpenAI's two APIs.  Raises ClientError."""
    if value is None:
        return Choice("auto")
    if isinstance(value, str) and value in _WORDS:
        return Choice(value)
    if isinstance(value, dict) and value.get("type") == "function" and (name := name_of(value)):
        return Choice("required", (name,))
    if isinstance(value, dict) and value.get("type") == "allowed_tools":
        return _allowed(value.get("allowed_tools", value))
    raise _unusable("must be auto, none or required, or name a function or allowed ones")


def with_chosen_tools(request: ParsedRequest) -> ParsedRequest:
    """A chat with the tools that may be called; it is left alone where the engine understands it.

    Raises errors.ClientError.
    """
    if request.fields.tool_choice in _AS_IT_IS:
        return request
    members = dict(request.members)
    try:
        choice = choice_of(msgspec.json.decode(request.fields.tool_choice))
        tools = choice.of(_tools(members.get("tools", b"[]")) or [])
    except UNDECODABLE as error:
        raise undecodable(error) from error
    for name in ("tool_choice", "tools"):
        members.pop(name, None)
    if not tools:
        return request.replaced(members, tools=UNSAID, tool_choice=UNSAID)
    members["tools"] = msgspec.Raw(msgspec.json.encode(tools))
    members["tool_choice"] = msgspec.Raw(msgspec.json.encode(choice.word))
    return request.replaced(members, tools=members["tools"], tool_choice=members["tool_choice"])


def _allowed(value: object) -> Choice:
    tools = value.get("tools") if isinstance(value, dict) else None
    mode = value.get("mode", "auto") if isinstance(value, dict) else None
    names = [name_of(tool) for tool in tools] if isinstance(tools, list) else []
    if not names or not all(names) or mode not in ("auto", "required"):
        raise _unusable("allows tools by a mode (auto or required) and a list of functions")
    return Choice(str(mode), tuple(names))


def _unusable(why: str) -> ClientError:
    return ClientError(f"tool_choice {why}", param="tool_choice")
