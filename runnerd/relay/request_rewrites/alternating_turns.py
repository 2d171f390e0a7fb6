"""Conversations in which user and assistant take turns, for templates that insist on it.

Clients send a greeting of the assistant first, two responses in a row, results of tools, and a
system prompt to models whose templates know none of these and raise an error.  What the template
refuses is told in another form, in steps of which each changes more than the one before:

    taking turns    two turns of one side are one; before a first word of the assistant stands an
                    empty one of the user
    as text         calls and results of tools are texts, in the marks that many models know
    without system  what the system says begins the user's first turn

`message_order` comes before these.  Each step is taken only when the engine has refused the one
before, so that nothing is rewritten for a template that takes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from runnerd.relay.request_rewrites.message_order import APART, SYSTEM, text_of

_CALLS = ("tool_calls", "reasoning_content")
_KINDS = {
    ("messages", "user"): "text",
    ("messages", "assistant"): "text",
    ("input", "user"): "input_text",
    ("input", "assistant"): "output_text",
}

Turn = dict[str, Any]


def alternating(body: bytes) -> bytes | None:
    """The body of a refused conversation in the next form that there is; None: there is none."""
    document = msgspec.json.decode(body)
    name = "input" if "input" in document else "messages"
    turns = document.get(name)
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        return None
    for step in _STEPS:
        if (told := step(turns, name)) != turns:
            return msgspec.json.encode(document | {name: told})
    if (whole := _without_system(document, turns, name)) is not None:
        return msgspec.json.encode(whole)
    return None


def _taking_turns(turns: list[Turn], name: str) -> list[Turn]:
    found: list[Turn] = []
    for turn in turns:
        role = turn.get("role")
        if role == "assistant" and all(each.get("role") in SYSTEM for each in found):
            found.append(_turn("user", "", name))
        if found and role == found[-1].get("role") and role in ("user", "assistant"):
            found[-1] = _joined(found[-1], turn, _KINDS[name, role])
        else:
            found.append(turn)
    return found


def _joined(one: Turn, two: Turn, kind: str) -> Turn:
    """One turn that says what two have said."""
    said: Turn = {**one, **two}
    texts = [one.get("content"), two.get("content")]
    if all(isinstance(text, str) or text is None for text in texts):
        said["content"] = APART.join(text for text in texts if text)
    else:
        said["content"] = [part for text in texts for part in _parts(text, kind)]
    if calls := [*(one.get("tool_calls") or ()), *(two.get("tool_calls") or ())]:
        said["tool_calls"] = calls
    thoughts = [each["reasoning_content"] for each in (one, two) if each.get("reasoning_content")]
    if thoughts and all(isinstance(thought, str) for thought in thoughts):
        said["reasoning_content"] = APART.join(thoughts)
    return said


def _parts(content: Any, kind: str) -> list[Any]:
    if isinstance(content, str):
        return [{"type": kind, "text": content}] if content else []
    return content if isinstance(content, list) else []


def _as_text(turns: list[Turn], name: str) -> list[Turn]:
    told = [said for turn in turns if (said := _told(turn, name)) is not None]
    return _taking_turns(told, name) if told != turns else turns


def _told(turn: Turn, name: str) -> Turn | None:
    """A turn with calls and results as text; None for a thought by itself, which goes with them."""
    kind = turn.get("type")
    if kind == "reasoning":
        return None
    if kind == "function_call":
        return _turn("assistant", _call(turn.get("name"), turn.get("arguments")), name)
    if kind == "function_call_output":
        return _turn("user", _result(text_of(turn.get("output"))), name)
    if turn.get("role") == "tool":
        return {"role": "user", "content": _result(text_of(turn.get("content")))}
    calls = turn.get("tool_calls")
    if isinstance(calls, list) and calls:
        texts = [text_of(turn.get("content")), *map(_function, calls)]
        plain = {name: each for name, each in turn.items() if name not in _CALLS}
        return {**plain, "content": APART.join(text for text in texts if text)}
    content = turn.get("content")
    if isinstance(content, list) and name == "messages":
        parts = [_block(part) for part in content]
        return turn if parts == content else {**turn, "content": parts}
    return turn


def _turn(role: str, text: str, name: str) -> Turn:
    """A turn of one text; an item of responses says what it is."""
    if name == "messages":
        return {"role": role, "content": text}
    content = [{"type": _KINDS[name, role], "text": text}]
    return {"type": "message", "role": role, "content": content}


def _block(part: Any) -> Any:
    """A block of Anthropic's as text, where it is a call or a result."""
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "tool_use":
        return {"type": "text", "text": _call(part.get("name"), part.get("input"))}
    if kind == "tool_result":
        return {"type": "text", "text": _result(text_of(part.get("content")))}
    return part


def _function(call: Any) -> str:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return ""
    return _call(function.get("name"), function.get("arguments"))


def _call(name: Any, arguments: Any) -> str:
    if isinstance(arguments, str):
        try:
            arguments = msgspec.json.decode(arguments)
        except (msgspec.DecodeError, UnicodeEncodeError):
            pass
    call = msgspec.json.encode({"name": name, "arguments": arguments}).decode()
    return f"<tool_call>\n{call}\n</tool_call>"


def _result(text: str) -> str:
    return f"<tool_response>\n{text}\n</tool_response>"


_STEPS: tuple[Callable[[list[Turn], str], list[Turn]], ...] = (_taking_turns, _as_text)


def _without_system(document: Turn, turns: list[Turn], name: str) -> Turn | None:
    apart = "instructions" if name == "input" else "system"
    said = [turn for turn in turns if turn.get("role") in SYSTEM]
    text = APART.join(
        filter(
            None, [text_of(document.get(apart)), *(text_of(turn.get("content")) for turn in said)]
        )
    )
    if not said and not text:
        return None
    others = [turn for turn in turns if turn.get("role") not in SYSTEM]
    if text:
        others = _taking_turns([_turn("user", text, name), *others], name)
    rest = {member: value for member, value in document.items() if member != apart}
    return {**rest, name: others}
