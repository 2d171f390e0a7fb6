"""Members that cost an engine the more, the more they hold."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from runnerd.errors import ClientError, PayloadTooLarge
from runnerd.relay.body import read_fields
from runnerd.relay.costly_fields import check_costly_fields


def check(**members: Any) -> None:
    """Hold a request against the limits."""
    body = msgspec.json.encode({"model": "m", **members})
    check_costly_fields(read_fields(body))


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"stop": ["x"] * 64},
        {"stop": "x" * 8000},
        {"logit_bias": {str(n): 1 for n in range(4096)}},
        {"samplers": "kfypmt"},
        {"top_logprobs": 20, "n_probs": 100},
        {"logprobs": True},
        {"logprobs": None},
        {"top_logprobs": "many"},
        {"grammar_triggers": [{"type": 0, "token": 5, "value": "x"}, {"type": 1, "value": "x"}]},
        {"grammar_triggers": []},
        {"grammar_triggers": "x"},
        {"grammar_triggers": [5]},
    ],
)
def test_what_is_honest(members: dict[str, Any]) -> None:
    """Up to the limit; what has a wrong type is the engine's to refuse."""
    check(**members)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stop", ["x"] * 65),
        ("stop_sequences", ["x"] * 65),
        ("dry_sequence_breakers", ["x"] * 65),
        ("samplers", ["x"] * 33),
        ("logit_bias", {str(n): 1 for n in range(4097)}),
        ("logit_bias", [[n, 1] for n in range(4097)]),
        ("lora", [{}] * 257),
        ("reasoning_budget_end_tags", ["x"] * 65),
        ("top_logprobs", 21),
        ("logprobs", 20.5),
        ("n_probs", 101),
    ],
)
def test_too_many(name: str, value: Any) -> None:
    """The member is named."""
    with pytest.raises(ClientError, match=name) as caught:
        check(**{name: value})
    assert caught.value.param == name


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("stop", 8192),
        ("dry_sequence_breakers", 4096),
        ("samplers", 1024),
        ("reasoning_budget_message", 16384),
        ("reasoning_budget_start_tag", 4096),
        ("reasoning_budget_end_tag", 4096),
        ("generation_prompt", 65536),
    ],
)
def test_too_large(name: str, size: int) -> None:
    """Also where it is one text."""
    check(**{name: "x" * (size - 2)})
    with pytest.raises(PayloadTooLarge, match=f"larger than {size} bytes"):
        check(**{name: "x" * (size - 1)})


@pytest.mark.parametrize("trigger", [{"type": 2}, {"type": 3}, {"type": 1.5}, {"type": "2"}, {}])
def test_grammars_wait_for_no_patterns(trigger: dict[str, Any]) -> None:
    """One of eight characters can keep an engine busy for ever."""
    with pytest.raises(ClientError, match="no patterns"):
        check(grammar_triggers=[{"type": 1, "value": "x"}, {**trigger, "value": "(x+x+)+y"}])
