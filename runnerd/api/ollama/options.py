"""Ollama's options as the engine's parameters: what the request says, and Ollama's own defaults.

What the model's owner and its maker say comes between the two (`relay/request_rewrites`).  All of
it is said explicitly, because the engine's defaults are others than Ollama's; only what the
weights' own preset names (`general.sampling.*`) is left to the engine, which reads it.  Options
that would need another start of the engine do not act, but for a larger `num_ctx`; the response's
`Warning` header says so, and which ones nobody knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runnerd.errors import ClientError
from runnerd.models.model import Model
from runnerd.models.modelfile import OPTIONS, checked_options
from runnerd.relay.request_rewrites.parameters import SAMPLING_OPTIONS, sampling

_DEFAULTS: dict[str, Any] = {
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.9,
    "min_p": 0.0,
    "typical_p": 1.0,
    "num_keep": 4,
    "repeat_last_n": 64,
    "repeat_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
_PRESETS = {  # in the metadata of the weights, after general.sampling.
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "penalty_last_n": "repeat_last_n",
    "penalty_repeat": "repeat_penalty",
}
_NAME = re.compile(r"[A-Za-z0-9_]{1,40}")
_MOST_WARNED = 16


@dataclass(frozen=True, slots=True)
class Options:
    """`sampling` are the engine's parameters that are asked for, `defaults` the other ones;
    `context` is how many tokens are asked for.
    """

    sampling: Mapping[str, Any]
    defaults: Mapping[str, Any]
    context: int | None
    warnings: tuple[str, ...]


def read_options(asked: Mapping[str, Any], model: Model) -> Options:
    """Return the options of a request for `model`.  Raises errors.ClientError."""
    try:
        asked = checked_options(asked)
    except ValueError as error:
        raise ClientError(f"options.{error}", param="options") from error
    if (predict := asked.get("num_predict")) is not None:
        asked["num_predict"] = max(-1, predict)  # -2 was once: until the context is full
    left = {_PRESETS[name] for name in _PRESETS if f"general.sampling.{name}" in _metadata(model)}
    left |= asked.keys()
    defaults = {name: value for name, value in _DEFAULTS.items() if name not in left}
    return Options(sampling(asked), sampling(defaults), _context(asked), _warnings(asked))


def _metadata(model: Model) -> Mapping[str, str]:
    return model.description.metadata


def _context(asked: Mapping[str, Any]) -> int | None:
    tokens = asked.get("num_ctx")
    return tokens if tokens is not None and tokens > 0 else None


def _warnings(asked: Mapping[str, Any]) -> tuple[str, ...]:
    """What does not act; only plain names, because they come from the client."""
    names = [name for name in asked if _NAME.fullmatch(name)][:_MOST_WARNED]
    loading = [
        name for name in names if name in OPTIONS and name not in (*SAMPLING_OPTIONS, "num_ctx")
    ]
    unknown = [name for name in names if name not in OPTIONS]
    found = []
    if loading:
        found.append(f"ignored: {' '.join(loading)}; the owner sets how a model is loaded")
    if unknown:
        found.append(f"ignored: {' '.join(unknown)}; no such option")
    return tuple(found)
