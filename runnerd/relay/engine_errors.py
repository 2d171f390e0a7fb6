"""What an engine's failure becomes for a client."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from runnerd.errors import BackendFailure, ClientError, InternalError, RunnerdError
from runnerd.runner import Runner

_MISTAKES = (  # a client's, which llama-server counts as its own
    "input is not supported",  # an image or a sound for a model that has no eyes or ears
    "Failed to parse messages",
    "Failed to parse tools",
    "elements must be a string, a list of tokens",
    "Cannot use both json_schema and grammar",
    "Unknown reasoning format",
    "Multimodal data provided",
)
_EXPLANATION_TIMEOUT = 2.0  # seconds to wait for the exit reason of an engine that hung up


def broken(reason: str) -> BackendFailure:
    """Return the error for a response that breaks off."""
    return BackendFailure(f"the engine broke the connection: {reason}")


async def explained(runner: Runner, reason: str) -> BackendFailure:
    """Return why an engine hung up: its end, if it has ended, else `reason`."""
    try:
        async with asyncio.timeout(_EXPLANATION_TIMEOUT):
            return await runner.wait_ended() or BackendFailure("the model was unloaded")
    except TimeoutError:
        return broken(reason)


def error_object(body: bytes) -> dict[str, Any]:
    """Return the error object of an engine's response, whatever its shape."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {"message": body[:500].decode("utf-8", "replace")}
    error = document.get("error", document) if isinstance(document, dict) else document
    return error if isinstance(error, dict) else {"message": str(error)[:500]}


class EngineRefusal(RunnerdError):
    """An engine's own error, as a client gets it: in OpenAI's shape and with a status that fits.

    `status` is that of the engine's response, `error` its error object.
    """

    def __init__(self, status: int, error: dict[str, Any]) -> None:
        self.status, self._document = client_error(status, error)
        super().__init__(str(self._document["message"]))

    def body(self) -> dict[str, dict[str, object]]:
        return {"error": self._document}


def client_error(status: int, error: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Return the status and error object that a client gets for an engine's error."""
    message = str(error.get("message") or error.get("detail") or "the engine refused the request")
    if status < 400:  # an error event inside a stream that had begun with 200
        code = error.get("code")
        status = code if isinstance(code, int) and 400 <= code < 600 else 502
    status, message = _judged(status, message)
    kind = error.get("type")
    if kind == "exceed_context_size_error":
        # In OpenAI's words: clients shorten what they send when they read them.
        kind = "context_length_exceeded"
        message = f"this model's maximum context length is {error.get('n_ctx')} tokens: {message}"
    elif kind == "server_error" and status < 500:
        kind = ClientError.code
    body = {
        **error,
        "message": message,
        "type": ClientError.type if status < 500 else InternalError.type,
        "param": error.get("param"),
        "code": kind if isinstance(kind, str) else "engine_error",
    }
    return status, body


def _too_long(message: str) -> str:
    """Say how long a text may be that the model has to see whole."""
    told, _, rest = message.partition(". increase")
    most = rest.partition("current batch size: ")[2].partition(")")[0]
    if not most:
        return f"{told}: it is longer than the model's context"
    return (
        f"{told}: the model sees a text whole, and is loaded for {most} tokens at most; "
        "`runnerd configure MODEL --context-size N` loads it for longer ones, as far as it was "
        "trained for them"
    )


def _judged(status: int, message: str) -> tuple[int, str]:
    """Return whose fault it is, as a status, and what is said of it."""
    if status == 500 and "json.exception" in message:
        # The engine's parser complains of a wrong type; its text quotes the body.
        return 400, "the engine could not read a field of the request: wrong type"
    if status == 500 and any(words in message for words in _MISTAKES):
        return 400, message
    if status == 500 and "is too large to process" in message:
        return 400, _too_long(message)
    if status == 501 and message.startswith("Infill is not supported"):
        return 400, "the model does not support insert: " + message
    if status == 503:
        return BackendFailure.status, message  # 503 is only for draining
    return status, message
