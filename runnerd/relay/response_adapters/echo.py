"""The prompt in front of its completion, for who asks OpenAI's older API for it with `echo`."""

from __future__ import annotations

from typing import Any

import msgspec

from runnerd.errors import ClientError
from runnerd.relay.body import ABSENT, Inference, prompt_texts

_CHOICES = b'"choices":['
_UNWANTED = (*ABSENT, msgspec.Raw(b"false"))


class Echo:
    """Puts each prompt in front of the first piece of each of its responses."""

    def __init__(self, prompts: list[str], responses: int) -> None:
        self._prompts = prompts
        self._responses = responses  # to each prompt; the engine numbers them through
        self._begun: set[int] = set()

    def concerns(self, event: bytes) -> bool:
        """Return whether an event can be the first of a response."""
        return len(self._begun) < len(self._prompts) * self._responses and _CHOICES in event

    def change(self, document: dict[str, Any]) -> None:
        """Change the choices in a chunk or a whole response."""
        for choice in document.get("choices") or ():
            index = choice.get("index", 0)
            prompt = index // self._responses
            if index not in self._begun and prompt < len(self._prompts):
                self._begun.add(index)
                choice["text"] = self._prompts[prompt] + choice.get("text", "")


def echo_wanted(inference: Inference) -> Echo | None:
    """What puts the prompts in front of the responses, None where nobody asks for it.

    Raises errors.ClientError where that cannot be.
    """
    if inference.echo in _UNWANTED:
        return None
    if inference.logprobs not in ABSENT:
        raise ClientError(
            "echo with logprobs is not supported: llama-server tells none of a prompt", param="echo"
        )
    prompts = prompt_texts(inference.prompt)
    if not prompts:
        raise ClientError("echo needs a prompt of text", param="echo")
    return Echo(prompts, inference.answers())
