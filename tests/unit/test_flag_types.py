"""Values of runtime flags: no path, address or option fits."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.backends.llamacpp.flag_types import (
    Choice,
    Integer,
    JsonObject,
    List,
    Number,
    TensorPlaces,
    Text,
    Type,
    is_number_like,
)

TYPES: list[Type] = [Integer(-1, 100), Number(-2, 2), Choice(("on", "off")), JsonObject(200),
                     List(Integer(0, 9), 3), Text(20), TensorPlaces()]  # fmt: skip


@pytest.mark.parametrize(
    ("type", "text", "said"),
    [
        (Integer(-1, 100), "+7", "7"),
        (Integer(-1, 100), "-1", "-1"),
        (Integer(-1, 100), "101", None),
        (Integer(-1, 100), "7.0", None),
        (Integer(-1, 100), "٣", None),
        (Integer(-1, 100), "7\n", None),
        (Number(0, 2), ".5", "0.5"),
        (Number(0, 2), "1e-3", "0.001"),
        (Number(0, 2), "nan", None),
        (Number(0, 2), "2.1", None),
        (Number(0, 2), "1e999", None),
        (Choice(("on", "off")), "on", "on"),
        (Choice(("on", "off")), "On", None),
        (List(Integer(0, 9), 3), "1,02,3", "1,2,3"),
        (List(Integer(0, 9), 3), "1,2,3,4", None),
        (List(Integer(0, 9), 3), "1,,2", None),
        (Text(20), "two words", "two words"),
        (Text(20), "-dash", None),
        (Text(20), "", None),
        (Text(20), "a\nb", None),
        (Text(20, lines=True), "a\nb", "a\nb"),
        (Text(20), "x" * 21, None),
        (JsonObject(50), ' {"a": [1]} ', '{"a":[1]}'),
        (JsonObject(50), "[1]", None),
        (JsonObject(50), '{"a": NaN}', None),
        (JsonObject(50), '{"a"', None),
        (JsonObject(10), '{"a": "bcdefgh"}', None),
        (JsonObject(10**6), '{"a":' * 17 + "1" + "}" * 17, None),
        (JsonObject(10**6), '{"a":' * 10**5, None),
        (JsonObject(10**6), json.dumps({"a": [0] * 1000}), None),
    ],
)
def test_values(type: Type, text: str, said: str | None) -> None:
    """A value is written anew in the engine's spelling, or there is none."""
    assert type.parse(text) == said


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        (r"blk\.\d+\.ffn_.*=CPU", True),
        ("exps=CPU,attn=CUDA0", True),
        (",".join(["a=CPU"] * 65), False),
        ("a", False),
        ("a=", False),
        ("-x=CPU", False),
        ("a=/dev/x", False),
        ("(=CPU", False),
        ("(a+)+=CPU", False),
        ("a**=CPU", False),
        ("((a*)b)*=CPU", False),
        ("a" * 129 + "=CPU", False),
    ],
)
def test_tensor_places(text: str, fits: bool) -> None:
    """No pattern that could run for ages, and no buffer that is a path."""
    assert (TensorPlaces().parse(text) is not None) == fits


@given(st.text(max_size=40))
def test_no_option_and_no_second_reading(text: str) -> None:
    """What begins with a dash is a number; what was written anew is a value as it stands."""
    for type in TYPES:
        said = type.parse(text)
        if said is not None:
            assert not said.startswith("-") or is_number_like(said)
            assert type.parse(said) == said


def test_each_says_what_it_takes() -> None:
    """For the message of a refusal."""
    for type in TYPES:
        assert type.description
