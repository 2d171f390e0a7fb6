"""What a conversation of OpenAI's responses consists of, in the forms that the engine takes.

Clients send back what they were given, each in its own way: a reasoning item without its text (or
with nothing but a summary), the arguments of a call that were cut short, an item by its id alone.
llama-server refuses each of these, and with it everything that is asked from then on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from runnerd.errors import ClientError
from runnerd.relay.request_rewrites.arguments import readable

Find = Callable[[str], dict[str, Any]]


def given_items(given: object, find: Find) -> list[Any]:
    """Return a request's input as items, those that are only named by what `find` knows of them.

    Raises errors.ClientError, and what `find` raises.
    """
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if isinstance(given, list) and given:
        return [_found(item, find) for item in given]
    raise ClientError("input must be a text or a list of items", param="input")


def engine_items(items: list[Any]) -> list[Any]:
    """Return items as the engine takes them.  Raises errors.ClientError."""
    taken = (_engine_item(item) for item in items)
    return [item for item in taken if item is not None]


def named_items(given: object) -> list[str]:
    """The ids of the items of a request's input that are only named."""
    items = given if isinstance(given, list) else []
    return [id for item in items if (id := _named(item)) is not None]


def _found(item: object, find: Find) -> object:
    """Return an item, or the one that it only names."""
    id = _named(item)
    return item if id is None else find(id)


def _named(item: object) -> str | None:
    """The id of an item that is only named; its type may be left out there."""
    if not isinstance(item, dict) or not isinstance(id := item.get("id"), str):
        return None
    return id if item.get("type") == "item_reference" or item.keys() == {"id"} else None


def _engine_item(item: object) -> Any:
    if not isinstance(item, dict):
        raise ClientError("each item of the input must be an object", param="input")
    kind = item.get("type") or "message"
    known = _FORMS.get(kind) if isinstance(kind, str) else None
    if known is None:
        raise ClientError(f"input items of type {str(kind)[:60]!r} are not known", param="input")
    return known(item)


def _message(item: dict[str, Any]) -> dict[str, Any]:
    content, speaks = item.get("content"), item.get("role") == "assistant"
    if isinstance(content, list):
        content = [_spoken(part) if speaks else _heard(part) for part in content]
    if not speaks:  # the engine knows neither id nor status of what it is told
        item = {name: value for name, value in item.items() if name not in ("id", "status")}
    return {**item, "type": "message", "content": content}


def _spoken(part: Any) -> Any:
    """Return a part of a response; a refusal is something that was said, too."""
    if isinstance(part, dict) and part.get("type") == "refusal":
        return {"type": "output_text", "text": part.get("refusal")}
    return part


def _heard(part: Any) -> Any:
    """Return a part of what the model is told; texts have many names."""
    if isinstance(part, dict) and part.get("type") in ("text", "output_text"):
        return {"type": "input_text", "text": part.get("text")}
    return part


def _reasoning(item: dict[str, Any]) -> dict[str, Any] | None:
    """What the model had thought; None where the client has only kept that it did."""
    text = _text(item.get("content")) or _text(item.get("summary"))
    if not text:
        return None
    content = [{"type": "reasoning_text", "text": text}]
    return {"type": "reasoning", "summary": [], "content": content}


def _text(parts: object) -> str:
    found = parts if isinstance(parts, list) else []
    texts = (part.get("text") for part in found if isinstance(part, dict))
    return "\n".join(text for text in texts if isinstance(text, str))


def _call(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "arguments": readable(item.get("arguments"))}


def _result(item: dict[str, Any]) -> dict[str, Any]:
    output = item.get("output")
    if isinstance(output, list):
        return {**item, "output": [_heard(part) for part in output]}
    if not isinstance(output, str):
        output = "" if output is None else msgspec.json.encode(output).decode()
    return {**item, "output": output}


def _of_client(kind: str, item: dict[str, Any]) -> dict[str, Any]:
    """A call of a tool that the client runs, and its result, as those of a function."""
    call_id = item.get("call_id") or item.get("id")
    if kind.endswith(_OUTPUT):
        found = {"type": "function_call_output", "call_id": call_id, "output": item.get("output")}
        return _result(found)
    said = {name: item[name] for name in _SAID if name in item}
    whole = said.get("action", said.get("operation", said))
    name = item.get("name") or kind.removesuffix("_call")
    arguments = msgspec.json.encode(whole if isinstance(whole, dict) else said).decode()
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


def _of_server(item: dict[str, Any]) -> None:
    """What OpenAI's own tools did; what came of it is in the messages that follow."""


_OUTPUT = "_output"
_SAID = ("input", "action", "operation", "environment")
_CLIENTS = ("custom_tool_call", "local_shell_call", "shell_call", "apply_patch_call",
            "computer_call")  # fmt: skip
_SERVERS = ("web_search_call", "file_search_call", "code_interpreter_call", "mcp_call",
            "image_generation_call", "mcp_list_tools", "mcp_approval_request",
            "mcp_approval_response", "tool_search_call", "tool_search_output")  # fmt: skip

_FORMS: dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]] = {
    "message": _message,
    "reasoning": _reasoning,
    "function_call": _call,
    "function_call_output": _result,
    **{kind: partial(_of_client, kind) for call in _CLIENTS for kind in (call, call + _OUTPUT)},
    **dict.fromkeys(_SERVERS, _of_server),
}
