"""The tool calls of a conversation that comes back to the model, as llama-server reads them.

OpenAI takes any text for arguments: an empty one for a function without parameters, half an object
where the response had been cut.  Other servers leave out the type of a call, or the arguments of
one without any.  llama-server parses them and refuses the request for each of these, and so every
one that follows in that conversation.  In chats they are looked at only once that has happened.
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


def with_readable_calls(body: Body) -> bytes | None:
    """Return the body of a chat in which all calls can be read; None if they could before."""
    document = msgspec.json.decode(body)
    messages = document.get("messages")
    changed = False
    for message in messages if isinstance(messages, list) else ():
        calls = message.get("tool_calls") if isinstance(message, dict) else None
        if isinstance(calls, list):
            told = [_readable_call(call) for call in calls]
            changed = changed or told != calls
            message["tool_calls"] = told
    return msgspec.json.encode(document) if changed else None


def _readable_call(call: Any) -> Any:
    """A call of a function with arguments; one of a custom tool has its text as an argument."""
    if not isinstance(call, dict) or call.get("type") not in (None, "function", "custom"):
        return call
    custom, function = call.get("custom"), call.get("function")
    if isinstance(custom, dict) and not isinstance(function, dict):
        said = msgspec.json.encode({"input": custom.get("input")}).decode()
        function = {"name": custom.get("name"), "arguments": said}
        call = {name: value for name, value in call.items() if name != "custom"}
    if not isinstance(function, dict):
        return call
    arguments = readable(function.get("arguments"))
    return {**call, "type": "function", "function": {**function, "arguments": arguments}}
