"""Answers of a model that may call tools, and whose text has to follow a schema.

The engine knows one or the other: with a schema it forgets the tools.  So it is asked for a call
first, as the model has learned to make it; and if what comes is a text, it is asked once more, for
a text after the schema.  The prompt is evaluated by then.  A text that is JSON is no call, and the
second question does not wait for its end; behind any other one a call may still follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runnerd.relay.dialect import AskedAgain, Translation
from runnerd.relay.response_adapters.rewritten_events import RewrittenEvents

_JSON = ("{", "[", "```")


class _CallsOrText(RewrittenEvents):
    """Events of the first response: held until there is a call, given up where none comes."""

    def __init__(self, inner: Translation) -> None:
        super().__init__(inner)
        self._held: list[bytes] = []
        self._called = False
        self._begins = ""

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the stream.  Raises StreamError, and AskedAgain for a text."""
        self._held.append(self._rewritten(data))
        if not self._called:
            return b""
        held, self._held = b"".join(self._held), []
        return self._inner.feed(held)

    def rewritten(self, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the event without its text.  Raises AskedAgain for an end without a call."""
        said = self._without_text(event)
        if not self._called and self._calls(event):
            self._called = True
        elif not self._called and self._ends(event):
            raise AskedAgain
        if said is not None:
            yield said

    def end(self) -> bytes:
        """The last bytes.  Raises StreamError, and AskedAgain."""
        if not self._called:
            raise AskedAgain
        return super().end()

    def _text(self, text: str) -> None:
        """Look at a piece of a text in front of the first call.  Raises AskedAgain."""
        if not self._called and len(self._begins) < len(_JSON[-1]):
            self._begins = (self._begins + text).lstrip()[: len(_JSON[-1])]
            if self._begins.startswith(_JSON):
                raise AskedAgain

    def _without_text(self, event: dict[str, Any]) -> dict[str, Any] | None:
        raise NotImplementedError

    def _calls(self, event: dict[str, Any]) -> bool:
        raise NotImplementedError

    def _ends(self, event: dict[str, Any]) -> bool:
        raise NotImplementedError


class CallsOrTextOfChat(_CallsOrText):
    """Of chunks of a chat."""

    def _without_text(self, event: dict[str, Any]) -> dict[str, Any] | None:
        for choice in event.get("choices") or []:
            delta = choice.get("delta")
            if isinstance(delta, dict) and (text := delta.pop("content", None)):
                self._text(text)
                if not (delta or choice.get("finish_reason")):
                    return None
        return event

    def _calls(self, event: dict[str, Any]) -> bool:
        choices = event.get("choices") or []
        return any((choice.get("delta") or {}).get("tool_calls") for choice in choices)

    def _ends(self, event: dict[str, Any]) -> bool:
        return any(choice.get("finish_reason") for choice in event.get("choices") or [])


class CallsOrTextOfResponse(_CallsOrText):
    """Of the events of a response."""

    _TEXT = ("response.content_part.", "response.output_text.")

    def _without_text(self, event: dict[str, Any]) -> dict[str, Any] | None:
        kind = str(event.get("type"))
        if kind == "response.output_text.delta":
            self._text(str(event.get("delta")))
        if kind.startswith(self._TEXT) or (event.get("item") or {}).get("type") == "message":
            return None
        response = event.get("response")
        if isinstance(response, dict) and isinstance(response.get("output"), list):
            output = response["output"]
            response["output"] = [each for each in output if each.get("type") != "message"]
        return event

    def _calls(self, event: dict[str, Any]) -> bool:
        return (event.get("item") or {}).get("type") == "function_call"

    def _ends(self, event: dict[str, Any]) -> bool:
        return event.get("type") == "response.completed"
