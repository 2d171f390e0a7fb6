"""The members of a completion's request that say how to generate, and the types engines demand.

llama-server reads each of them into a number, a truth value or a text, refuses other types, and
takes null for absent.  Bounds are those it refuses by (it clamps others); what it reads as a whole
number it takes a fraction for, and for any number a truth value.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from runnerd.errors import ClientError

_Number = float | bool | None
_Limit = Annotated[float, Meta(ge=-1, lt=2**31)] | bool | None
_Natural = Annotated[float, Meta(ge=0)] | bool | None
_FromMinusOne = Annotated[float, Meta(ge=-1)] | bool | None
_Milliseconds = Annotated[float, Meta(ge=-1)] | None  # the one number of 64 bits
_Count = Annotated[float, Meta(ge=1, lt=2**31)] | bool | None
_Positive = Annotated[float, Meta(gt=0)] | bool | None
_Decay = Annotated[float, Meta(ge=0, le=0.99)] | None
_Flag = bool | None

_REASONING_FORMATS = ("none", "auto", "deepseek", "deepseek-legacy")


class Parameters(Struct):
    """What every kind of completion may say besides its prompt."""

    adaptive_decay: _Decay = None
    adaptive_target: _Number = None
    backend_sampling: _Flag = None
    cache_prompt: _Flag = None
    dry_allowed_length: _Natural = None
    dry_base: _Number = None
    dry_multiplier: _Number = None
    dry_penalty_last_n: _Natural = None
    dry_sequence_breakers: Annotated[list[str], Meta(min_length=1)] | None = None
    dynatemp_exponent: _Number = None
    dynatemp_range: _Number = None
    echo: _Flag = None
    frequency_penalty: _Number = None
    ignore_eos: _Flag = None
    json_schema: dict[str, Raw] | None = None
    logprobs: _Number = None
    lora: list[Raw] | None = None
    max_completion_tokens: _Limit = None
    max_tokens: _Limit = None
    min_keep: _Natural = None
    min_p: _Number = None
    mirostat: _Number = None
    mirostat_eta: _Number = None
    mirostat_tau: _Number = None
    n: _Count = None
    n_cache_reuse: _Natural = None
    n_cmpl: _Count = None
    n_indent: _Natural = None
    n_keep: _FromMinusOne = None
    n_predict: _Limit = None
    n_probs: _Number = None
    parse_tool_calls: _Flag = None
    post_sampling_probs: _Flag = None
    presence_penalty: _Number = None
    reasoning_budget_tokens: _FromMinusOne = None
    reasoning_format: Any = None
    repeat_last_n: _Natural = None
    repeat_penalty: _Positive = None
    return_progress: _Flag = None
    return_tokens: _Flag = None
    samplers: Any = None
    seed: _Number = None
    sse_ping_interval: _FromMinusOne = None
    stop: Any = None
    stream_options: Any = None
    t_max_predict_ms: _Milliseconds = None
    temperature: _Number = None
    timings_per_token: _Flag = None
    top_k: _Number = None
    top_n_sigma: _Number = None
    top_p: _Number = None
    typical_p: _Number = None
    verbose: _Flag = None
    xtc_probability: _Number = None
    xtc_threshold: _Number = None


class _OfText(Struct):
    """What only text completions may say; in chats the model's template decides it."""

    chat_format: _Number = None
    chat_parser: str | None = None
    generation_prompt: str | None = None
    grammar_lazy: _Flag = None
    grammar_triggers: list[Raw] | dict[str, Raw] | None = None
    preserved_tokens: list[str] | dict[str, str] | None = None


class _OfMessages(Struct):
    """What the engine takes of Anthropic's messages."""

    max_tokens: _Limit | UnsetType = UNSET
    stop_sequences: Any = None
    temperature: _Number = None
    top_k: _Number = None
    top_p: _Number = None


class _OfResponses(Struct):
    max_output_tokens: _Limit = None


_read = msgspec.json.Decoder(Parameters).decode
_read_of_text = msgspec.json.Decoder(_OfText).decode
_read_of_messages = msgspec.json.Decoder(_OfMessages).decode
_read_of_responses = msgspec.json.Decoder(_OfResponses).decode


def check_parameters(body: bytes) -> Parameters:
    """Return a completion's parameters.  Raises msgspec's errors and errors.ClientError."""
    said = _read(body)
    _check_stop(said.stop, "stop")
    if isinstance(said.samplers, list) and not _are_texts(said.samplers):
        raise ClientError("samplers must be names of samplers", param="samplers")
    if said.reasoning_format is not None and said.reasoning_format not in _REASONING_FORMATS:
        raise ClientError(
            f"reasoning_format must be one of: {', '.join(_REASONING_FORMATS)}",
            param="reasoning_format",
        )
    options = said.stream_options
    counts = options.get("include_usage") if isinstance(options, dict) else None
    if counts is not None and not isinstance(counts, bool):
        raise ClientError("include_usage must be true or false", param="stream_options")
    return said


def check_text_parameters(body: bytes) -> None:
    """Check what a text completion or an infill says besides its prompt."""
    check_parameters(body)
    _read_of_text(body)


def check_message_parameters(body: bytes) -> None:
    """Check what one of Anthropic's messages says besides the conversation."""
    _check_stop(_read_of_messages(body).stop_sequences, "stop_sequences")


def check_response_parameters(body: bytes) -> None:
    """Check what a request for a response says besides its input."""
    check_parameters(body)
    _read_of_responses(body)


def _check_stop(stop: object, name: str) -> None:
    if isinstance(stop, list) and not _are_texts(stop):
        raise ClientError(f"{name} must be a string or an array of strings", param=name)


def _are_texts(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
