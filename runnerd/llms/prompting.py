"""What Pantry's parameters mean for an engine.

An entry has defaults and says which of them programs may set; what they set of others is ignored.

| parameter | what becomes of it |
|---|---|
| `pre_prompt`, `post_prompt` | put before and behind the prompt; the response ends where the former would come again |
| `system_prompt` (of a session) | what the model reads first |
| `sampler_string` | `topk:k=40/topp:p=0.9/temperature:0.8`: the samplers that engines know, others are ignored |
| those that engines know | as they are |
"""  # noqa: E501

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from runnerd.errors import ClientError

PRE_PROMPT, POST_PROMPT, SAMPLERS = "pre_prompt", "post_prompt", "sampler_string"
_TEXTS = (PRE_PROMPT, POST_PROMPT, SAMPLERS)
_ENGINES = frozenset({
    "temperature", "top_k", "top_p", "min_p", "typical_p", "repeat_penalty", "repeat_last_n",
    "presence_penalty", "frequency_penalty", "mirostat", "mirostat_tau", "mirostat_eta",
    "max_tokens", "n_predict", "seed", "stop", "grammar", "logit_bias",
})  # fmt: skip
_SAMPLERS = {
    "topk": ("k", "top_k", int),
    "topp": ("p", "top_p", float),
    "minp": ("p", "min_p", float),
    "locallytypical": ("p", "typical_p", float),
    "temperature": ("temperature", "temperature", float),
    "repetition": ("penalty", "repeat_penalty", float),
    "mirostat2": ("tau", "mirostat_tau", float),
}
"""By the names of the samplers: their main argument, and the engine's word for it."""


def merged(
    defaults: Mapping[str, Any], said: Mapping[str, Any], allowed: Collection[str]
) -> dict[str, Any]:
    """The parameters that count: the entry's, and what a program may set and has."""
    return {**defaults, **{name: value for name, value in said.items() if name in allowed}}


class EnginePrompt(NamedTuple):
    """A prompt as an engine gets it."""

    text: str
    parameters: dict[str, Any]


def engine_prompt(prompt: str, parameters: Mapping[str, Any]) -> EnginePrompt:
    """What an engine is asked.  Raises errors.ClientError for a text that is none."""
    before, behind, samplers = (_text(parameters, name) for name in _TEXTS)
    said = _sampled(samplers)
    said |= {name: value for name, value in parameters.items() if name in _ENGINES}
    if before:
        stops = said.get("stop") or []
        said["stop"] = [*([stops] if isinstance(stops, str) else stops), before]
    return EnginePrompt(before + prompt + behind, said)


def _text(parameters: Mapping[str, Any], name: str) -> str:
    value = parameters.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ClientError(f"{name} must be a string", param=name)
    return value


def _sampled(text: str) -> dict[str, Any]:
    """The parameters that a chain of samplers stands for."""
    found: dict[str, Any] = {}
    for sampler in text.split("/"):
        name, _, arguments = sampler.strip().partition(":")
        known = _SAMPLERS.get(name.lower().replace("_", "").replace("-", ""))
        if known is None:
            continue
        wanted, parameter, kind = known
        for argument in arguments.split(":"):
            key, equals, value = argument.partition("=")
            if (key.strip() == wanted) if equals else bool(key):
                number = _number(value if equals else key)
                if number is not None:
                    found[parameter] = kind(number)
    if "mirostat_tau" in found:
        found["mirostat"] = 2
    return found


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
