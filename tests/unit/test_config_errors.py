"""One text for what is wrong with settings."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from runnerd.config_errors import wrong_fields, wrong_settings


class _Inner(BaseModel):
    number: int


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    inner: _Inner
    text: str = ""


def test_each_problem_has_its_line() -> None:
    """Fields are named as they are written, inner ones with their outer ones."""
    with pytest.raises(ValidationError) as raised:
        _Settings.model_validate({"inner": {"number": "x"}, "text": 3, "more": 1})
    fields = wrong_fields(raised.value)
    assert [field.where for field in fields] == ["inner.number", "text", "more"]
    assert "valid integer" in fields[0].what
    assert fields[2].what == "there is no such field"
    far = wrong_fields(raised.value, ["inner", "text"])
    assert far[2].what == "there is no such setting; `runnerd settings` lists them"
    near = wrong_fields(raised.value, ["much", "mores"])
    assert near[2].what == "there is no such setting; is mores meant?"
    text = wrong_settings(" in [table]", raised.value)
    assert text.splitlines()[0] == "wrong settings in [table]:"
    assert text.splitlines()[1:] == [f"  {field}" for field in fields]
