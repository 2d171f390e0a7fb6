"""Ollama's requests in the engine's terms.

Clients send empty strings, nulls and empty objects for what they do not mean; those count as
absent.  Wrong types are refused.
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from runnerd.errors import ClientError
from runnerd.relay.body import Body, json_object
from runnerd.relay.request_rewrites.plain_images import plain_base64
from runnerd.units import bounded_seconds, parse_duration

_EFFORTS = ("low", "medium", "high", "max")
_LONGEST_HEAD = 256  # characters of a data URL before its data
_MOST_TOP = 20  # alternatives to a token


class Fields:
    """An Ollama request's members, read with the tolerance that its clients count on.

    `model` is what the client calls it, and what the response does.
    """

    def __init__(self, body: Body) -> None:
        self._document = json_object(body)
        model = self._document.get("model") or self._document.get("name")
        if not isinstance(model, str):
            raise ClientError("model is required", param="model")
        self.model = model

    def text(self, name: str) -> str:
        """Return a string member, "" where it is absent."""
        return str(self._typed(name, str, "a string") or "")

    def items(self, name: str) -> list[Any]:
        """Return an array, empty where it is absent."""
        value: Any = self._typed(name, list, "an array")
        return list(value or [])

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a boolean member."""
        value = self._typed(name, bool, "true or false")
        return default if value is None else bool(value)

    def raw(self, name: str) -> Any:
        """Return a member as it is, None for what counts as absent."""
        value = self._document.get(name)
        return None if value in ("", {}) else value

    def _typed(self, name: str, kind: type, what: str) -> object:
        value = self._document.get(name)
        if value is not None and not isinstance(value, kind):
            raise ClientError(f"{name} must be {what}", param=name)
        return value

    @property
    def keep_alive(self) -> float | None:
        """Seconds, FOREVER for every negative number, None where it is absent."""
        value = self.raw("keep_alive")
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool):
            return bounded_seconds(value)
        try:
            return parse_duration(str(value))
        except ValueError as error:
            raise ClientError(f"keep_alive: {error}", param="keep_alive") from error

    @property
    def options(self) -> dict[str, Any]:
        """The options, empty where they are absent."""
        options: Any = self._typed("options", dict, "an object")
        return dict(options or {})

    def format(self, *, chat: bool) -> dict[str, Any]:
        """Return how `format` is told to the engine: JSON, a schema, or nothing."""
        wanted = self.raw("format")
        if wanted is None:
            return {}
        if wanted != "json" and not isinstance(wanted, dict):
            raise ClientError('format must be "json" or a JSON schema', param="format")
        if not chat:
            return {"json_schema": {"type": "object"} if wanted == "json" else wanted}
        if wanted == "json":
            return {"response_format": {"type": "json_object"}}
        schema = {"name": "format", "schema": wanted}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}

    @property
    def wants_thinking(self) -> bool:
        """Whether the model has to be able to think."""
        think = self.raw("think")
        return think is not False and think in (True, *_EFFORTS)

    def thinking(self, *, able: bool) -> dict[str, Any]:
        """How `think` is told to the engine; a model that is `able` to does by itself."""
        think = self.raw("think")
        if think is None:
            return {"chat_template_kwargs": {"enable_thinking": True}} if able else {}
        if isinstance(think, bool):
            return {"chat_template_kwargs": {"enable_thinking": think}}
        if think in _EFFORTS:
            effort = "high" if think == "max" else think
            kwargs = {"enable_thinking": True, "reasoning_effort": effort}
            return {"chat_template_kwargs": kwargs}
        raise ClientError("think must be true, false, low, medium, high or max", param="think")

    def logprobs(self, *, chat: bool) -> dict[str, Any]:
        """Return how `logprobs` and `top_logprobs` are told to the engine."""
        top = self.top_logprobs
        if not self.flag("logprobs", default=False):
            return {}
        least = max(1, top)  # the engine tells nothing of a token when it is asked for none
        return {"logprobs": True, "top_logprobs": least} if chat else {"logprobs": least}

    @property
    def top_logprobs(self) -> int:
        """How many alternatives to each token are asked for."""
        top = self.raw("top_logprobs")
        if top is None:
            return 0
        if type(top) is not int or not 0 <= top <= _MOST_TOP:
            raise ClientError(
                f"top_logprobs must be between 0 and {_MOST_TOP}", param="top_logprobs"
            )
        return top


def engine_messages(messages: list[Any]) -> list[dict[str, Any]]:
    """Return chat messages in the engine's form: arguments as text, images as data URIs.

    Results of tools that name no call are paired with the calls before them: by the tool's name,
    else in order.  Raises errors.ClientError.
    """
    converted: list[dict[str, Any]] = []
    open_calls: list[dict[str, Any]] = []
    for message in messages:
        engine_message = _engine_message(message)
        if calls := engine_message.get("tool_calls"):
            open_calls = list(calls)
        if engine_message["role"] == "tool":
            engine_message["tool_call_id"] = _answered_call(message, open_calls)
        converted.append(engine_message)
    return converted


def _answered_call(message: dict[str, Any], open_calls: list[dict[str, Any]]) -> str:
    """Return the id of the call that a tool's message answers, and strike it off."""
    if message.get("tool_call_id"):
        return str(message["tool_call_id"])
    named = (call for call in open_calls if call["function"]["name"] == message.get("tool_name"))
    call = next(named, None) or next(iter(open_calls), None)
    if call is None:
        return "call_0"
    open_calls.remove(call)
    return str(call["id"])


def _engine_message(message: Any) -> dict[str, Any]:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise ClientError("each message needs a role", param="messages")
    content = message.get("content") or ""
    if not isinstance(content, str):
        raise ClientError("a message's content must be a string", param="messages")
    converted: dict[str, Any] = {"role": message["role"], "content": content}
    if images := message.get("images"):
        converted["content"] = with_images(content, images)
    if calls := message.get("tool_calls"):
        if not isinstance(calls, list):
            raise ClientError("tool_calls must be an array", param="messages")
        converted["tool_calls"] = [_engine_call(call, number) for number, call in enumerate(calls)]
    if thinking := message.get("thinking"):
        converted["reasoning_content"] = str(thinking)
    return converted


def with_images(text: str, images: Any) -> list[dict[str, Any]]:
    """Return a message's content of text and base64 images."""
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise ClientError("images must be an array of base64 strings", param="images")
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
    for image in map(_plain, images):
        if _is_sound(image):
            sound = {"data": image, "format": "wav"}
            parts.append({"type": "input_audio", "input_audio": sound})
            continue
        address = f"data:{_media_type(image)};base64,{image}"
        parts.append({"type": "image_url", "image_url": {"url": address}})
    return parts


def _plain(image: str) -> str:
    """Base64 in one line; some clients put what a page needs in front of it."""
    head, comma, _ = image[:_LONGEST_HEAD].partition(",")
    head = head.lower()
    if comma and head.startswith("data:") and head.endswith(";base64"):
        image = image[len(head) + 1 :]
    return plain_base64(image)


def _is_sound(image: str) -> bool:
    """Say whether what was sent as an image is a WAV file, as Ollama's clients send sound."""
    try:
        start = base64.b64decode(image[:16])
    except ValueError:
        return False
    return start[:4] == b"RIFF" and start[8:12] == b"WAVE"


def _media_type(image: str) -> str:
    """What the first bytes of a base64 image say it is."""
    kinds = {"/9j/": "image/jpeg", "iVBORw": "image/png", "R0lGOD": "image/gif"}
    return next((kind for start, kind in kinds.items() if image.startswith(start)), "image/png")


def _engine_call(call: Any, number: int) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise ClientError("each tool call needs a function with a name", param="messages")
    arguments = function.get("arguments") or {}
    return {
        "id": str(call.get("id") or f"call_{number}"),
        "type": "function",
        "function": {
            "name": function["name"],
            "arguments": msgspec.json.encode(arguments).decode(),
        },
    }
