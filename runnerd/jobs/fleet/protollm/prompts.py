"""What ProtoLLM's clients send: a prompt, or a conversation, with a few parameters.

Unknown members are ignored and missing ones have ProtoLLM's defaults, as its own models have it, so
that validation fails exactly where theirs does.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class PromptMeta(BaseModel):
    """The parameters of a prompt.  None leaves one to the engine."""

    temperature: float | None = 0.2
    tokens_limit: int | None = 8096
    stop_words: list[str] | None = None
    model: str | None = None


class PromptModel(BaseModel):
    """The body of `POST /generate`: a text without a role."""

    job_id: str
    priority: int | None = None
    meta: PromptMeta
    content: str


class ChatMessage(BaseModel):
    """One message of a conversation."""

    role: str
    content: str


class ChatCompletionModel(BaseModel):
    """The body of `POST /chat_completion`, and the prompt of every task message."""

    job_id: str
    priority: int | None = None
    source: str = "local"
    meta: PromptMeta
    messages: list[ChatMessage]

    @classmethod
    def from_prompt(cls, prompt: PromptModel) -> ChatCompletionModel:
        """A text as a conversation of one message of the user."""
        return cls(
            job_id=prompt.job_id,
            priority=prompt.priority,
            meta=prompt.meta,
            messages=[ChatMessage(role="user", content=prompt.content)],
        )


def chat_request(prompt: ChatCompletionModel, default_model: str | None) -> dict[str, Any]:
    """The body of OpenAI's `POST /v1/chat/completions` that asks for the same.

    `default_model` is for prompts that name none.
    """
    meta = prompt.meta
    optional = {
        "model": meta.model or default_model,
        "temperature": meta.temperature,
        "max_tokens": meta.tokens_limit,
        "stop": meta.stop_words or None,
    }
    return {
        "messages": [message.model_dump() for message in prompt.messages],
        **{name: value for name, value in optional.items() if value is not None},
    }
