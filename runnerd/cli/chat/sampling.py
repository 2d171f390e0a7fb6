"""What a conversation can be set to: sampling, form of responses, reasoning.

Names are Ollama's, as people know them from its `/set parameter`, and OpenAI's; the request has
OpenAI's.
"""

from __future__ import annotations

import difflib
import json
import math
from pathlib import Path
from typing import Any

from runnerd.errors import ClientError, NotFound

PARAMETERS: dict[str, tuple[str, type, str]] = {
    "temperature": ("temperature", float, "how daring: 0 is always the likeliest"),
    "top_p": ("top_p", float, "the likeliest tokens that make up this share"),
    "top_k": ("top_k", int, "so many of the likeliest tokens"),
    "min_p": ("min_p", float, "tokens at least this likely beside the likeliest"),
    "typical_p": ("typical_p", float, "locally typical sampling"),
    "seed": ("seed", int, "the same seed gives the same response"),
    "num_predict": ("max_tokens", int, "tokens of a response at most"),
    "stop": ("stop", list, "a word that ends the response; again for one more"),
    "repeat_penalty": ("repeat_penalty", float, "above 1 repeats less"),
    "repeat_last_n": ("repeat_last_n", int, "tokens that count as repeats"),
    "presence_penalty": ("presence_penalty", float, "against what was said at all"),
    "frequency_penalty": ("frequency_penalty", float, "against what was said often"),
}  # fmt: skip
_ALSO = {"max_tokens": "num_predict", "max-tokens": "num_predict"}
_EFFORTS = ("low", "medium", "high")
THINK = ("true", "false", *_EFFORTS)


def set_parameter(parameters: dict[str, object], name: str, text: str) -> str:
    """Set one parameter and return what it is now.  Raises errors.ClientError, NotFound."""
    known = _ALSO.get(name, name)
    if known not in PARAMETERS:
        near = difflib.get_close_matches(known, PARAMETERS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(PARAMETERS)}"
        raise NotFound(f"there is no parameter {name}; {hint}")
    field, kind, _ = PARAMETERS[known]
    if kind is list:
        stored = parameters.get(field)
        parameters[field] = [*(stored if isinstance(stored, list) else []), text]
    else:
        try:
            number = kind(text)
            if not math.isfinite(number):
                raise ValueError(text)
            parameters[field] = number
        except (ValueError, OverflowError) as error:
            what = "a whole number" if kind is int else "a number"
            raise ClientError(f"{name} takes {what}, and {text!r} is none") from error
    return f"{known} = {json.dumps(parameters[field], ensure_ascii=False)}"


def response_format(text: str) -> dict[str, object]:
    """The member `response_format` for `json`, a JSON schema, or the name of a file with one.

    Raises errors.ClientError, NotFound.
    """
    if text == "json":
        return {"type": "json_object"}
    schema = _schema(text)
    return {"type": "json_schema", "json_schema": {"name": "response", "schema": schema}}


def reasoning(text: str) -> dict[str, object]:
    """The members that let a model think before it answers, or keep it from that."""
    if text in _EFFORTS:
        return {
            "chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": text},
            "reasoning_effort": text,
        }
    return {"chat_template_kwargs": {"enable_thinking": text == "true"}}


def _schema(text: str) -> dict[str, Any]:
    source, where = text, "the schema"
    if not text.lstrip().startswith("{"):
        where = f"the schema in {text}"
        try:
            source = Path(text).expanduser().read_text("utf-8-sig")
        except FileNotFoundError as error:
            raise NotFound(
                f"--format takes json, a JSON schema, or a file with one; there is no file {text}"
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise ClientError(f"{text} cannot be read: {error}") from error
    try:
        schema = json.loads(source)
    except (ValueError, RecursionError) as error:
        raise ClientError(f"{where} is not JSON: {error}") from error
    if not isinstance(schema, dict):
        raise ClientError(f"{where} is no JSON object")
    return schema
