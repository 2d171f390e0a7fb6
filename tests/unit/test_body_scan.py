"""What is counted of a body before it is decoded, and that this takes steps in proportion to it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runnerd.errors import ClientError, PayloadTooLarge, RunnerdError
from runnerd.limit_settings import Limits
from runnerd.relay import body_scan
from runnerd.relay.body_inspection import inspect
from runnerd.relay.body_scan import check_depth, check_weight, count_prompts, is_heavy, outlines

LIMITS = Limits()
NESTED = "[" * 120 + "]" * 120

# Names of members that are judged by themselves (`relay/media_check`) are not among them.
_NAMES = st.text().filter(lambda name: not name.endswith(("_url", "input_audio")))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(['"', "\\", "[{", "é"]),
    lambda inner: st.lists(inner) | st.dictionaries(_NAMES, inner),
    max_leaves=30,
)


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@given(value=JSON, window=st.integers(2, 40), escaped=st.booleans())
def test_depth_is_that_of_the_document(value: Any, window: int, escaped: bool) -> None:
    """However the text is cut into windows, and whatever its strings look like."""
    text = json.dumps([value], ensure_ascii=escaped).encode()
    depth = depth_of([value])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(body_scan, "_WINDOW", window)
        patch.setattr(body_scan, "_LEAP", 2 * window)
        check_weight(text, depth)
        with pytest.raises(ClientError, match="nested"):
            check_depth(text, depth - 1)
        assert b"".join(outlines(text)).count(b'"') == count_strings([value])


def count_strings(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(count_strings, value.values()))
    return sum(map(count_strings, value)) if isinstance(value, list) else isinstance(value, str)


@given(st.lists(JSON))
def test_prompts_are_strings_arrays_and_objects(entries: list[Any]) -> None:
    """Whatever is in them."""
    text = json.dumps({"model": "m", "prompt": entries}).encode()
    found = sum(isinstance(entry, str | list | dict) for entry in entries)
    no_limit = LIMITS.model_copy(update={"prompts": 2**20})
    assert count_prompts(inspect(text, no_limit).fields.prompt) == max(1, found)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        pytest.param("[" + "[]," * 2**16 + "[]]", "containers", id="wide"),
        pytest.param("[" + (NESTED + ",") * 600 + "[]]", "containers", id="nested"),
        pytest.param("[" + '"",' * 2**17 + '""]', "strings", id="strings"),
        pytest.param("[" + "1," * 2**20 + "1]", "values", id="numbers"),
        pytest.param('"' + "\\n" * (2**22 + 1) + '"', "escapes", id="escapes"),
    ],
)
def test_what_nobody_sends_in_earnest_is_refused(value: str, what: str) -> None:
    """By number, as soon as it is seen."""
    with pytest.raises(PayloadTooLarge, match=f"more than .* {what}"):
        inspect(f'{{"model":"m","input":{value}}}'.encode(), LIMITS)


@pytest.mark.parametrize("size", [2**10, 2**16, 2**18, 2**22])
@pytest.mark.parametrize(
    "unit",
    [
        "[",
        "{",
        "[]",
        NESTED + ",",
        '"",',
        "1,",
        "{},",
        '{"":',
        '\\"',
        "\\\\",
        '"',
        "x",
        "é",
        '"a":1,',
    ],
)
@pytest.mark.parametrize("field", ['"input":[', '"prompt":"', '"messages":[{"image_url":', ""])
def test_a_body_takes_steps_in_proportion_to_its_size(size: int, unit: str, field: str) -> None:
    """Counted in calls: whether it is JSON or not, and a light one takes few."""
    body = ('{"model":"m",' + field + unit * (size // len(unit.encode()))).encode()
    steps = calls(lambda: inspect(body, LIMITS))
    assert steps < 5000 + len(body) / 4
    if not is_heavy(body):
        assert steps < 10_000


@settings(max_examples=30, deadline=None)
@given(value=JSON, times=st.integers(1, 3000))
def test_nobody_makes_more_steps_of_it(value: Any, times: int) -> None:
    """The same for any document, repeated: strings, members and containers of every kind."""
    body = json.dumps({"model": "m", "messages": [value] * times}).encode()
    assert calls(lambda: inspect(body, LIMITS)) < 5000 + len(body) / 4


def calls(work: Callable[[], object]) -> int:
    """How many functions were called."""
    found = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal found
        found += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    except RunnerdError:
        pass
    finally:
        sys.setprofile(None)
    return found
