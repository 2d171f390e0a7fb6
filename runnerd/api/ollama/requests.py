"""Ollama's requests in the engine's terms.

Clients send empty strings, nulls and empty objects for what they do not mean; those count as
absent.  Unknown options are ignored, as Ollama does; wrong types are refused.
"""

from __future__ import annotations

from typing import Any

import msgspec

from runnerd.durations import FOREVER, parse_duration
from runnerd.errors import ClientError
from runnerd.relay.body import Body

_decode = msgspec.json.Decoder(dict[str, Any]).decode

_SAMPLING = {  # Ollama's option: the engine's parameter
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "seed": "seed",
    "num_predict": "max_tokens",
    "num_keep": "n_keep",
    "repeat_last_n": "repeat_last_n",
    "repeat_penalty": "repeat_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}


class Fields:
    """An Ollama request's members, read with the tolerance that its clients count on."""

    def __init__(self, body: Body) -> None:
        try:
            self._document = _decode(bytes(body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ClientError(f"the request body is not a JSON object: {error}") from error
        model = self._document.get("model") or self._document.get("name")
        if not isinstance(model, str):
            raise ClientError("model is required", param="model")
        self.model: str = model

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
            return FOREVER if value < 0 else float(value)
        try:
            return parse_duration(str(value))
        except ValueError as error:
            raise ClientError(f"keep_alive: {error}", param="keep_alive") from error

    def sampling(self) -> dict[str, Any]:
        """Return `options` as the engine's parameters."""
        options = self._typed("options", dict, "an object") or {}
        assert isinstance(options, dict)
        found: dict[str, Any] = {}
        for name, value in options.items():
            if name in _SAMPLING and value is not None:
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise ClientError(f"options.{name} must be a number", param=name)
                found[_SAMPLING[name]] = value
        if (stop := options.get("stop")) is not None:
            found["stop"] = [stop] if isinstance(stop, str) else stop
        return found

    def response_format(self) -> dict[str, Any] | None:
        """Return what `format` asks of the answer: JSON, a schema, or nothing."""
        wanted = self.raw("format")
        if wanted is None:
            return None
        if wanted == "json":
            return {"type": "json_object"}
        if isinstance(wanted, dict):
            return {"type": "json_schema", "json_schema": {"name": "format", "schema": wanted}}
        raise ClientError('format must be "json" or a JSON schema', param="format")

    def thinking(self) -> dict[str, Any]:
        """Return how `think` is told to the engine."""
        think = self.raw("think")
        if think is None:
            return {}
        if isinstance(think, bool):
            return {"chat_template_kwargs": {"enable_thinking": think}}
        if think in ("low", "medium", "high", "max"):
            effort = "high" if think == "max" else think
            kwargs = {"enable_thinking": True, "reasoning_effort": effort}
            return {"chat_template_kwargs": kwargs}
        raise ClientError("think must be true, false, low, medium, high or max", param="think")


def engine_message(message: Any) -> dict[str, Any]:
    """Return a chat message in the engine's form: arguments as text, images as data URIs."""
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise ClientError("each message needs a role", param="messages")
    content = message.get("content") or ""
    if not isinstance(content, str):
        raise ClientError("a message's content must be a string", param="messages")
    converted: dict[str, Any] = {"role": message["role"], "content": content}
    if images := message.get("images"):
        converted["content"] = with_images(content, images)
    if calls := message.get("tool_calls"):
        converted["tool_calls"] = [_engine_call(call, number) for number, call in enumerate(calls)]
    if thinking := message.get("thinking"):
        converted["reasoning_content"] = str(thinking)
    if message["role"] == "tool":
        converted["tool_call_id"] = str(message.get("tool_call_id") or "call_0")
    return converted


def with_images(text: str, images: Any) -> list[dict[str, Any]]:
    """Return a message's content of text and base64 images."""
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise ClientError("images must be an array of base64 strings", param="images")
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
    for image in images:
        address = f"data:{_media_type(image)};base64,{image}"
        parts.append({"type": "image_url", "image_url": {"url": address}})
    return parts


def _media_type(image: str) -> str:
    """Return what the first bytes of a base64 image say it is."""
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
