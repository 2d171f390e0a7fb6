"""The engine's events of a response, with what OpenAI's clients count on and it leaves out."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec

from runnerd.errors import RunnerdError
from runnerd.relay.dialect import Limit
from runnerd.relay.events import EVENT_STREAM, Events, broken_off, written
from runnerd.sessions.kept_responses import new_id

log = logging.getLogger(__name__)

_COMPLETED = "response.completed"
_PARTS = ("response.content_part.", "response.output_text.", "response.reasoning_text.")


class CompletedResponse:
    """One response's events, completed."""

    content_type = EVENT_STREAM

    def __init__(
        self,
        asked: dict[str, Any],
        keep: Callable[[dict[str, Any]], Awaitable[bool]] | None,
        limit: Limit,
        *,
        streams: bool,
    ) -> None:
        self.streams = streams
        if not streams:
            self.content_type = b"application/json"
        self._asked = asked
        self._keep = keep
        self._last: dict[str, Any] | None = None  # the event that tells the final response
        self._limit = limit
        self._id = new_id("resp")
        self._created = int(time.time())
        self._events = Events()
        self._numbers = itertools.count()
        self._output = -1  # index of the item that is being written

    def feed(self, data: bytes) -> bytes:
        return b"".join(
            self._event(each) for event in self._events.feed(data) for each in _unfolded(event)
        )

    def end(self) -> bytes:
        """Return the whole response, or nothing after a stream.  Raises StreamError."""
        if self._last is None:
            raise broken_off()
        if self._keep is not None:  # it did not come to that
            self._not_kept()
        if self.streams:
            return self._numbered(self._last)
        return msgspec.json.encode(self._last["response"])

    async def keep(self) -> None:
        """Keep the response before it is told; where that fails it says that it is not stored."""
        keep, self._keep = self._keep, None
        if keep is None or self._last is None:
            return
        try:
            kept = await keep(self._last["response"])
        except RunnerdError as error:
            log.warning("response %s is not kept: %s", self._id, error.message)
            kept = False
        if not kept:
            self._not_kept()

    def _not_kept(self) -> None:
        assert self._last is not None
        self._last["response"]["store"] = False

    def _event(self, event: dict[str, Any]) -> bytes:
        kind = str(event.get("type"))
        if kind == "response.output_item.added":
            self._output += 1
        if kind.startswith("response.output_") or "item" in event or "item_id" in event:
            event.setdefault("output_index", max(0, self._output))
        if kind.startswith(_PARTS):
            event.setdefault("content_index", 0)
        if kind in ("response.output_text.delta", "response.output_text.done"):
            event.setdefault("logprobs", [])
        if kind == "response.content_part.added":
            event["part"] = {"annotations": [], "logprobs": [], **event["part"]}
        if isinstance(event.get("response"), dict):
            event["response"] = self._completed(event["response"])
            if kind == _COMPLETED:
                final = event["response"]
                final["output_text"] = _spoken(final["output"])
                event["type"] = f"response.{final['status']}"
                self._last = event
                return b""
        return self._numbered(event) if self.streams else b""

    def _numbered(self, event: dict[str, Any]) -> bytes:
        event["sequence_number"] = next(self._numbers)
        return written(event, str(event.get("type")))

    def _completed(self, response: dict[str, Any]) -> dict[str, Any]:
        """Return the response with the members that the engine leaves out."""
        usual: dict[str, Any] = {
            "created_at": self._created,
            "error": None, "incomplete_details": None, "instructions": None, "metadata": {},
            "conversation": None, "output": [], "parallel_tool_calls": True,
            "tool_choice": "auto", "tools": [],
        }  # fmt: skip
        whole = usual | response | self._asked | {"id": self._id}
        limit, used = self._limit.tokens, whole.get("usage") or {}
        if used:
            used.setdefault("output_tokens_details", {"reasoning_tokens": 0})
        if limit is not None and 0 < limit <= used.get("output_tokens", 0):
            whole["status"] = "incomplete"
            whole["incomplete_details"] = {"reason": "max_output_tokens"}
        return whole


def _unfolded(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield an event, after the end of a call's arguments or of a thought, which the engine leaves
    out.
    """
    item = event["item"] if event.get("type") == "response.output_item.done" else {}
    if item.get("type") == "function_call":
        told = {"item_id": item["id"], "name": item["name"], "arguments": item["arguments"]}
        yield {"type": "response.function_call_arguments.done", **told}
    if item.get("type") == "reasoning" and item.get("content"):
        told = {"item_id": item["id"], "text": item["content"][0]["text"]}
        yield {"type": "response.reasoning_text.done", **told}
    yield event


def _spoken(output: list[Any]) -> str:
    """All that was said, as Docker Model Runner tells it beside the output."""
    parts = [part for item in output for part in item.get("content") or ()]
    return "".join(part["text"] for part in parts if part.get("type") == "output_text")
