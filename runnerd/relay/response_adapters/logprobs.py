"""Log probabilities in OpenAI's shapes.

In chats the engine's list of tokens (`content`) is OpenAI's, but of a token that is half a
character it cuts the text: that becomes U+FFFD, beside the exact `bytes` (`HalfCharacters`).

Of text completions OpenAI's clients read four parallel lists (`TokenLists`).  Offsets count
characters from the beginning of the prompt, as OpenAI's do.  A token that is half a character is
told by its bytes there, as OpenAI does.  Whoever asks with the engine's own `n_probs` gets the
engine's own shape.
"""

from __future__ import annotations

import codecs
from typing import Any

import msgspec

from runnerd.relay.body import ABSENT, Body, Inference, number, prompt_texts, unclosed
from runnerd.relay.events import StreamError

NO_ALTERNATIVES = msgspec.Raw(b"0")
"""A request's `logprobs` for which the engine would tell nothing at all."""

_YES = msgspec.Raw(b"true")
_TOLD = b'"logprobs":{'
_new_decoder = codecs.getincrementaldecoder("utf-8")


class TokenLists:
    """Turns the choices of one response, which may come in pieces, from one shape to the other.

    `top` is how many alternatives to a token are told; the token itself always is.
    """

    def __init__(self, inference: Inference, top: int) -> None:
        self.top = top
        self._responses = inference.answers()  # to each prompt
        self._lengths = [len(prompt) for prompt in prompt_texts(inference.prompt)]
        self._decoders: dict[int, codecs.IncrementalDecoder] = {}
        self._offsets: dict[int, int] = {}

    def concerns(self, event: bytes) -> bool:
        """Return whether an event tells log probabilities."""
        return _TOLD in event

    def change(self, document: dict[str, Any]) -> None:
        """Change the choices in a chunk or a whole response; what has no `content` stays.

        Raises StreamError.
        """
        try:
            for choice in document.get("choices") or ():
                entries = (choice.get("logprobs") or {}).get("content")
                if entries is not None:
                    choice["logprobs"] = self._lists(choice.get("index", 0), entries)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise StreamError({"message": "the engine's log probabilities are not any"}) from error

    def _lists(self, index: int, entries: list[dict[str, Any]]) -> dict[str, Any]:
        decoder = self._decoders.setdefault(index, _new_decoder("replace"))
        offset = self._offsets.get(index)
        if offset is None:
            offset = self._length(index // self._responses)
        offsets = []
        for entry in entries:
            offsets.append(offset)
            offset += len(decoder.decode(_raw(entry)))
        self._offsets[index] = offset
        return {
            "tokens": [_text(entry) for entry in entries],
            "token_logprobs": [entry["logprob"] for entry in entries],
            "top_logprobs": [self._alternatives(entry) for entry in entries],
            "text_offset": offsets,
        }

    def _alternatives(self, entry: dict[str, Any]) -> dict[str, float]:
        found = entry.get("top_logprobs", [])[: self.top]
        return {_text(each): each["logprob"] for each in (*found, entry)}

    def _length(self, prompt: int) -> int:
        return self._lengths[prompt] if prompt < len(self._lengths) else 0


class HalfCharacters:
    """Gives the tokens of one response that are half a character a text, as OpenAI does."""

    def concerns(self, event: bytes) -> bool:
        """Return whether an event tells log probabilities."""
        return _TOLD in event

    def change(self, document: dict[str, Any]) -> None:
        """Change the tokens of the choices in a chunk or a whole response.  Raises StreamError."""
        try:
            for choice in document.get("choices") or ():
                for entry in (choice.get("logprobs") or {}).get("content") or ():
                    for token in (entry, *entry.get("top_logprobs", ())):
                        token["token"] = shown_text(token)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise StreamError({"message": "the engine's log probabilities are not any"}) from error


def shown_text(entry: dict[str, Any]) -> str:
    """The text of a token: of one that is half a character U+FFFD."""
    return _raw(entry).decode(errors="replace")


def lists_wanted(inference: Inference) -> TokenLists | None:
    """What makes the lists that a request asks for; None: it does not, not in OpenAI's way.

    The engine also takes `logprobs: true`, and then tells them as it does in chats.
    """
    if inference.logprobs in ABSENT:
        return None
    top = number(inference.logprobs, default=-1)
    return TokenLists(inference, top) if top >= 0 else None


def half_characters_wanted(inference: Inference) -> HalfCharacters | None:
    """What mends the tokens of a request that asks for them in chat's shape."""
    return HalfCharacters() if inference.logprobs == _YES else None


def with_one_alternative(body: Body) -> bytes:
    """Return the body of a request for none that makes the engine tell something."""
    return b'%s,"logprobs":1}' % unclosed(body)


def _raw(entry: dict[str, Any]) -> bytes:
    raw = entry.get("bytes")
    return entry["token"].encode() if raw is None else bytes(raw)


def _text(entry: dict[str, Any]) -> str:
    raw = _raw(entry)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)
