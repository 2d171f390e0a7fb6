"""The limits of what a client may ask: which values they take."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from runnerd.limit_settings import Limits


@pytest.mark.parametrize("name", sorted(set(Limits.model_fields) - {"body_rate"}))
def test_no_limit_is_switched_off_by_nought(name: str) -> None:
    """Nothing at all could be asked then; nor is a negative one taken."""
    for value in (0, -1):
        with pytest.raises(ValidationError, match=name):
            Limits.model_validate({name: value})


def test_a_body_may_come_as_slowly_as_it_likes() -> None:
    """That one is what an owner of a slow network says."""
    assert Limits.model_validate({"body_rate": 0}).body_rate == 0


def test_a_name_that_is_none_is_told() -> None:
    """It would be a limit that does not hold."""
    with pytest.raises(ValidationError, match="boddy_bytes"):
        Limits.model_validate({"boddy_bytes": 1})


def test_nesting_stays_below_what_python_can_follow() -> None:
    """However deep an owner lets bodies be."""
    assert Limits.model_validate({"json_depth": 1000}).json_depth == 1000
    with pytest.raises(ValidationError, match="json_depth"):
        Limits.model_validate({"json_depth": 1001})
