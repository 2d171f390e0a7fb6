"""The arguments of tool calls in a conversation that comes back to the model.

OpenAI takes any text for them: an empty one for a function without parameters, half an object where
the response had been cut.  llama-server parses them and refuses the request for either, and so
every one that follows in that conversation.  In chats they are looked at only once that has
happened.
"""

from __future__ import annotations

from typing import Any

import msgspec

from runnerd.relay.body import Body


def readable(arguments: object) -> object:
    """Return arguments that are a JSON object; what cannot be read as one becomes a member."""
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        return "{}"
    if not isinstance(arguments, str):
        return arguments
    try:
        if isinstance(msgspec.json.decode(arguments), dict):
            return arguments
    except msgspec.DecodeError:
        pass
    return msgspec.json.encode({"arguments": arguments}).decode()


def with_readable_arguments(body: Body) -> bytes | None:
    """Return the body of a chat in which all arguments can be read; None if they could before."""
    document = msgspec.json.decode(body)
    functions = [_function(call) for call in _calls(document)]
    unread = [f for f in functions if readable(f.get("arguments")) != f.get("arguments")]
    for function in unread:
        function["arguments"] = readable(function.get("arguments"))
    return msgspec.json.encode(document) if unread else None


def _calls(document: dict[str, Any]) -> list[Any]:
    messages = document.get("messages")
    found = messages if isinstance(messages, list) else []
    lists = [message.get("tool_calls") for message in found if isinstance(message, dict)]
    return [call for calls in lists if isinstance(calls, list) for call in calls]


def _function(call: Any) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, dict) else None
    return function if isinstance(function, dict) else {"arguments": "{}"}
