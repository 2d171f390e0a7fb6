"""The turns of a conversation in an order that every model's template takes.

Some templates raise an error for a system message behind the first turn, or for two turns of a user
in a row.  Agents send both: Codex has two messages of a developer, Claude Code tells the model more
in the midst of a conversation, and Ollama's templates take anything.
"""

from __future__ import annotations

from typing import Any

import msgspec

SYSTEM = ("system", "developer")
"""The roles that tell a model what it is to be."""

APART = "\n\n"
"""What stands between two texts that become one."""

_RAISED = ("raise_exception", "Jinja Exception")
_TEXTS = {"messages": "text", "input": "input_text"}


def is_raised(message: str) -> bool:
    """Return whether an engine's error is one that a template raised by itself."""
    return any(sign in message for sign in _RAISED)


def in_order(body: bytes) -> bytes | None:
    """Return a body with what the system says in front, and no two turns of a user in a row.

    None where that was so.  The body is one of the engine's: a chat, responses or a message.
    """
    document = msgspec.json.decode(body)
    name = "input" if "input" in document else "messages"
    turns = document.get(name)
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        return None
    said = [turn for turn in turns if turn.get("role") in SYSTEM]
    others = _joined([turn for turn in turns if turn.get("role") not in SYSTEM], _TEXTS[name])
    apart = "instructions" if name == "input" else "system"
    in_front = len(said) == 1 and turns[0] is said[0] and not document.get(apart)
    if len(said) + len(others) == len(turns) and (in_front or not said):
        return None
    text = APART.join(text_of(turn.get("content")) for turn in said)
    if said and (name == "input" or apart in document):
        document[apart] = APART.join(filter(None, [text_of(document.get(apart)), text]))
    elif said:
        others.insert(0, {"role": "system", "content": text})
    return msgspec.json.encode(document | {name: others})


def _joined(turns: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Return turns without two of a user in a row, but for those that tell more than texts."""
    found: list[dict[str, Any]] = []
    for turn in turns:
        if found and _is_of_user(found[-1]) and _is_of_user(turn):
            parts = [*_parts(found[-1]["content"], kind), *_parts(turn["content"], kind)]
            found[-1] = {**found[-1], "content": parts}
        else:
            found.append(turn)
    return found


def _is_of_user(turn: dict[str, Any]) -> bool:
    content = turn.get("content")
    results = isinstance(content, list) and any(
        not isinstance(part, dict) or part.get("type") == "tool_result" for part in content
    )
    return turn.get("role") == "user" and isinstance(content, str | list) and not results


def _parts(content: Any, kind: str) -> list[Any]:
    return [{"type": kind, "text": content}] if isinstance(content, str) else content


def text_of(content: Any) -> str:
    """The text of a turn's content: what it is, or what its parts have of it."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return APART.join(text for text in texts if isinstance(text, str))
