"""What a model's maker has every conversation with it begin with: a system prompt and messages.

The system prompt stands in front of a conversation that brings none, the messages in front of every
one, as in Ollama, where each API comes through the same chat.  They are written once, in the form
of each operation, and put in front of what the client has sent, whose bytes stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from runnerd.models.modelfile import Modelfile, Remark

# Which member has the turns, and which one the system prompt; None: it is the first turn.
_PLACES: dict[str, tuple[str, str | None]] = {
    "chat/completions": ("messages", None),
    "apply-template": ("messages", None),
    "responses": ("input", "instructions"),
    "messages": ("messages", "system"),
    "messages/count_tokens": ("messages", "system"),
}
_SYSTEM = ("system", "developer")

_encode = msgspec.json.encode


class _Turn(msgspec.Struct):
    role: str | None = None


_decode = msgspec.json.Decoder(list[_Turn]).decode


class Opening(NamedTuple):
    """What is put into one request: a default `system`, and `turns` at the front of a list."""

    system: Mapping[str, object] = {}
    turns: Mapping[str, bytes] = {}


class PromptPrefix:
    """Opens the conversations of one operation on one model."""

    def __init__(self, made: Modelfile, operation: str) -> None:
        self._list, member = _PLACES[operation]
        turns = b"".join(_encode(_turn(said, operation)) + b"," for said in made.messages)
        self._system: Mapping[str, object] = {}
        self._turns = self._turns_after_system = turns
        if made.system and member is None:
            self._turns = _encode({"role": "system", "content": made.system}) + b"," + turns
        elif made.system and member is not None:
            self._system = {member: made.system}

    def opening(self, members: Mapping[str, msgspec.Raw]) -> Opening:
        """What to put into a request; a request without a conversation gets nothing."""
        try:
            turns = _decode(members.get(self._list, b"[]"))
        except msgspec.MsgspecError:
            return Opening()  # the engine says what is wrong
        if not turns:
            return Opening()
        if turns[0].role in _SYSTEM:
            return Opening(turns={self._list: self._turns_after_system})
        return Opening(self._system, {self._list: self._turns})


def prompt_prefix_for(made: Modelfile, operation: str) -> PromptPrefix | None:
    """What opens the conversations of an operation; None: nothing."""
    said = made.system or made.messages
    return PromptPrefix(made, operation) if said and operation in _PLACES else None


def _turn(said: Remark, operation: str) -> dict[str, object]:
    turn: dict[str, object] = {"role": said.role, "content": said.content}
    return {"type": "message", **turn} if operation == "responses" else turn
