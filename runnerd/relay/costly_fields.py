"""Members that make an engine work longer, or say more, the more they hold: bounded by their size.

An engine looks for each breaker in every token that it knows, and for each stop in every text that
it sends; what it says of a token's alternatives is many times as long as the token.
"""

from __future__ import annotations

import msgspec

from runnerd.errors import ClientError, PayloadTooLarge
from runnerd.relay.body import UNSAID, Inference

_MOST = {  # bytes as JSON, entries
    "stop": (8192, 64),
    "stop_sequences": (8192, 64),
    "dry_sequence_breakers": (4096, 64),
    "samplers": (1024, 32),
    "logit_bias": (65536, 4096),
    "lora": (65536, 256),
    "grammar_triggers": (65536, 1024),
    "preserved_tokens": (65536, 1024),
    "reasoning_budget_message": (16384, 1),
    "reasoning_budget_start_tag": (4096, 1),
    "reasoning_budget_end_tag": (4096, 1),
    "reasoning_budget_end_tags": (16384, 64),
    "generation_prompt": (65536, 1),
}
_ALTERNATIVES = {
    "top_logprobs": 20,  # OpenAI's limit
    "logprobs": 20,
    "n_probs": 100,
}
_PLAIN_TRIGGERS = (b"0", b"1")  # tokens and words, as the engine numbers them; the rest: patterns
_NOTHING = (UNSAID,) * (len(_MOST) + len(_ALTERNATIVES))

_entries = msgspec.json.Decoder(list[msgspec.Raw] | dict[str, msgspec.Raw]).decode


class _Trigger(msgspec.Struct):
    """What a grammar waits for."""

    type: msgspec.Raw = UNSAID


_decode_triggers = msgspec.json.Decoder(list[_Trigger]).decode
_decode_number = msgspec.json.Decoder(float).decode


def check_costly_fields(fields: Inference) -> None:
    """Raise errors.ClientError or PayloadTooLarge for a member that holds more than is honest."""
    said = (
        fields.stop,
        fields.stop_sequences,
        fields.dry_sequence_breakers,
        fields.samplers,
        fields.logit_bias,
        fields.lora,
        fields.grammar_triggers,
        fields.preserved_tokens,
        fields.reasoning_budget_message,
        fields.reasoning_budget_start_tag,
        fields.reasoning_budget_end_tag,
        fields.reasoning_budget_end_tags,
        fields.generation_prompt,
        fields.top_logprobs,
        fields.logprobs,
        fields.n_probs,
    )
    if said == _NOTHING:
        return
    for (name, (size, entries)), raw in zip(_MOST.items(), said, strict=False):
        if raw is UNSAID:
            continue
        if len(memoryview(raw)) > size:
            raise PayloadTooLarge(f"{name} is larger than {size} bytes", param=name)
        if bytes(memoryview(raw)[:1]) in (b"[", b"{") and len(_entries(raw)) > entries:
            raise ClientError(f"{name} has more than {entries} entries", param=name)
    if fields.grammar_triggers is not UNSAID:
        _check_triggers(fields.grammar_triggers)
    for (name, most), raw in zip(_ALTERNATIVES.items(), said[len(_MOST) :], strict=True):
        if raw is not UNSAID and _number(raw) > most:
            raise ClientError(f"{name} must not be more than {most}", param=name)


def _check_triggers(raw: msgspec.Raw) -> None:
    """Refuse patterns: an engine looks for them in all that was generated, after each token, and a
    short one can take it for ever.
    """
    try:
        triggers = _decode_triggers(raw)
    except msgspec.MsgspecError:
        return  # the engine refuses it
    if any(bytes(trigger.type) not in _PLAIN_TRIGGERS for trigger in triggers):
        raise ClientError(
            "grammar_triggers may be words (type 1) and tokens (type 0), but no patterns",
            param="grammar_triggers",
        )


def _number(raw: msgspec.Raw) -> float:
    """The engine takes a fraction for a whole number; what is no number is its to refuse."""
    try:
        return _decode_number(raw)
    except msgspec.MsgspecError:
        return 0
