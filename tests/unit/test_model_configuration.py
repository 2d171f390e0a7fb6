"""What an owner may set for a model, and what counts as the same for an engine."""

from __future__ import annotations

import math

import pytest

from runnerd.configurations.model_configuration import validated
from runnerd.errors import InvalidConfiguration


@pytest.mark.parametrize(
    ("said", "seconds", "told"),
    [
        ("5m", 300.0, "5m0s"),
        ("0", 0.0, "0"),
        (0, 0.0, "0"),
        ("-1", -1.0, "-1"),
        (-7, -1.0, "-1"),
        (90, 90.0, "1m30s"),
    ],
)
def test_durations(said: object, seconds: float, told: str) -> None:
    """Strings as Go writes them or numbers of seconds; Go's strings in JSON."""
    made = validated({"keep_alive": said})
    assert made.keep_alive == seconds
    assert made.model_dump(mode="json", by_alias=True)["keep_alive"] == told


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"keep_alive": True}, "keep_alive"),
        ({"keep_alive": math.nan}, "keep_alive"),
        ({"min_instances": 3, "max_instances": 2}, "min_instances is more than"),
        ({"min_instances": "1"}, "min_instances"),
        ({"exclusive_group": [""]}, "exclusive_group.0"),
        ({"stripped_parameters": ["prompt"]}, "cannot do without 'prompt'"),
        ({"preload": [{"role": "tool", "content": "x"}]}, "preload.0.role"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_wrong_fields_are_named(document: dict[str, object], named: str) -> None:
    """The message says which field it was and what is wrong with it."""
    with pytest.raises(InvalidConfiguration, match=named):
        validated(document)


def test_one_group_is_a_list_of_one() -> None:
    """Most models have one."""
    assert validated({"exclusive_group": "gpu"}).exclusive_group == ("gpu",)


def test_fingerprint() -> None:
    """What the engine is started with counts, how its runners are kept does not."""
    plain = validated({}).fingerprint()
    kept = {"keep_alive": "1m", "pinned": True, "min_instances": 1, "preload_prefix": "x"}
    assert validated(kept).fingerprint() == plain
    assert validated({"context-size": 512}).fingerprint() != plain
    assert validated({"context-size": 512}).fingerprint() != (
        validated({"context-size": 513}).fingerprint()
    )
