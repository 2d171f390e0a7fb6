"""The values of a Go template in Jinja: members, literals and functions, each with its kind.

Each value has a *kind* (`root`, `messages`, `text`, ...), so that only what has the same meaning on
both sides is translated.
"""

from __future__ import annotations

from dataclasses import dataclass

from runnerd.models.gotemplates.tree import TemplateError

# Kind and member: what it is and how Jinja writes it (of `{}`).
MEMBERS = {
    ("root", "Messages"): ("messages", "messages"),
    ("root", "Tools"): ("tools", "(tools if tools is defined else none)"),
    ("root", "System"): ("text", "ns.system"),
    ("root", "Prompt"): ("text", "ns.prompt"),
    ("root", "Response"): ("text", "ns.response"),
    ("root", "Suffix"): ("text", "''"),
    ("root", "Think"): ("truth", "(enable_thinking is defined and enable_thinking)"),
    ("root", "IsThinkSet"): ("truth", "(enable_thinking is defined)"),
    ("root", "ThinkLevel"): ("text", "(reasoning_effort if reasoning_effort is defined else '')"),
    ("message", "Role"): ("text", "{}['role']"),
    ("message", "Content"): ("text", "({}['content'] or '')"),
    ("message", "Thinking"): ("text", "({}['reasoning_content'] or '')"),
    ("message", "ToolCalls"): ("calls", "{}['tool_calls']"),
    ("message", "ToolName"): ("text", "({}['name'] or '')"),
    ("call", "Function"): ("called", "{}['function']"),
    ("called", "Name"): ("text", "{}['name']"),
    ("called", "Arguments"): ("json", "{}['arguments']"),
    ("tool", "Type"): ("text", "{}['type']"),
    ("tool", "Function"): ("function", "{}['function']"),
    ("function", "Name"): ("text", "{}['name']"),
    ("function", "Description"): ("text", "{}['description']"),
    ("function", "Parameters"): ("json", "{}['parameters']"),
}
ITEMS = {"messages": "message", "tools": "tool", "calls": "call"}
_AS_JSON = ("tools", "tool", "function", "calls", "call", "called", "json")
_COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


@dataclass(frozen=True, slots=True)
class Value:
    """An expression in Jinja, and its kind."""

    kind: str
    text: str


def result_of(name: str, values: list[Value]) -> Value:
    """What a function of Go's makes of its values.  Raises TemplateError for one not supported."""
    texts = [value.text for value in values]
    match name, values:
        case (("and" | "or"), [_, _, *_]):
            kind = values[0].kind if len({value.kind for value in values}) == 1 else "truth"
            return Value(kind, f"({f' {name} '.join(texts)})")
        case "not", [_]:
            return Value("truth", f"(not {texts[0]})")
        case (("eq" | "ne" | "lt" | "le" | "gt" | "ge"), [_, _, *more]):
            if more and name != "eq":
                raise TemplateError(f"{name} takes two values")
            sign = _COMPARISONS[name]
            pairs = (f"{texts[0]} {sign} {other}" for other in texts[1:])
            return Value("truth", f"({' or '.join(pairs)})")
        case "len", [_]:
            return Value("number", f"({texts[0]} | length)")
        case "slice", [Value(kind="messages" | "calls" | "tools") as whole, *ends] if (
            0 < len(ends) < 3
        ):
            return Value(whole.kind, f"{texts[0]}[{texts[1]}:{''.join(texts[2:])}]")
        case "index", [Value(kind="messages" | "calls" | "tools") as whole, _]:
            return Value(ITEMS[whole.kind], f"{texts[0]}[{texts[1]}]")
        case "json", [_]:
            return Value("text", f"({texts[0]} | tojson)")
        case "currentDate", []:
            return Value("text", "strftime_now('%Y-%m-%d')")
    raise TemplateError(f"the function {name} with {len(values)} values is not supported")


def literal(value: str | float | int | bool | None) -> Value:
    """A text, number, truth or nil."""
    if isinstance(value, str):
        return Value("text", quoted(value))
    if isinstance(value, bool) or value is None:
        return Value("truth", {True: "true", False: "false", None: "none"}[value])
    return Value("number", str(value))


def shown(value: Value) -> str:
    """What writes a value: Go's structures show themselves as JSON.

    Raises TemplateError for a value that cannot be written.
    """
    if value.kind == "json":  # some clients send arguments as a text that is JSON already
        return f"({value.text} if {value.text} is string else ({value.text} | tojson))"
    if value.kind in _AS_JSON:
        return f"({value.text} | tojson)"
    if value.kind in ("root", "messages", "message", "truth"):
        raise TemplateError(f"a {value.kind} cannot be written")
    return value.text


def quoted(text: str) -> str:
    """A text as a string literal of Jinja's."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return "'" + escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + "'"
