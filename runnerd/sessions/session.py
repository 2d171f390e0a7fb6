"""What a session is, and what a turn of it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Parameters = Mapping[str, Any]


class SessionKind(enum.StrEnum):
    """How a session's turns become what the model reads.

    CHAT: as messages, through the model's template.  TEXT: one text, prompts and responses behind
    each other and nothing between them.
    """

    CHAT = "chat"
    TEXT = "text"


class TurnState(enum.StrEnum):
    """COMPLETE: the model has ended it, or a limit.  INTERRUPTED: somebody has, on purpose."""

    COMPLETE = "complete"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Session:
    """`principal` is the id of whose it is, `model` the id of the model that it is bound to.

    `system` is what the model is told first.  `parameters` go with each prompt, in OpenAI's words.
    `details` are for the API that has made it.  Times are Unix time, `bytes` are those of its text.
    """

    id: str
    principal: str
    model: str
    model_name: str
    name: str = ""
    kind: SessionKind = SessionKind.CHAT
    system: str = ""
    parameters: Parameters = field(default_factory=dict)
    details: Parameters = field(default_factory=dict)
    created: float = 0.0
    used: float = 0.0
    expires: float = 0.0
    turns: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """A prompt and its response.  `number` counts from 1 within the session.

    `parts` is the prompt as it was sent where it has images or sounds, OpenAI's parts as JSON; then
    `prompt` is the text in it.  Of its tokens `cached_tokens` had been evaluated before.
    """

    session: str
    number: int
    prompt: str
    response: str
    created: float
    state: TurnState = TurnState.COMPLETE
    reasoning: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    parts: str = ""


@dataclass(frozen=True, slots=True)
class NewSession:
    """What a session is made of; `model` is any reference to one.  A `name` is unique to its
    principal, who may leave it out.
    """

    model: str
    name: str = ""
    kind: SessionKind = SessionKind.CHAT
    system: str = ""
    parameters: Parameters = field(default_factory=dict)
    details: Parameters = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is said next, with `parts` as a turn has them.  `parameters` count before the session's.

    With `after`, the number of turns that whoever asks knows of, the prompt is refused where there
    are others: so it can be repeated when its outcome was not heard.
    """

    text: str
    parameters: Parameters = field(default_factory=dict)
    after: int | None = None
    parts: str = ""
