"""What a conversation can be set to."""

from __future__ import annotations

from pathlib import Path

import pytest

from runnerd.cli.chat.sampling import reasoning, response_format, set_parameter
from runnerd.errors import ClientError, NotFound


def test_parameters() -> None:
    """Names of Ollama's become those of the API; words that end a response add up."""
    parameters: dict[str, object] = {}
    assert set_parameter(parameters, "num_predict", "7") == "num_predict = 7"
    assert set_parameter(parameters, "max_tokens", "8") == "num_predict = 8"
    set_parameter(parameters, "temperature", "0.5")
    set_parameter(parameters, "stop", "END")
    assert set_parameter(parameters, "stop", "ü") == 'stop = ["END", "ü"]'
    assert parameters == {"max_tokens": 8, "temperature": 0.5, "stop": ["END", "ü"]}
    with pytest.raises(NotFound, match="did you mean top_p"):
        set_parameter(parameters, "topp", "1")
    with pytest.raises(NotFound, match="there are temperature"):
        set_parameter(parameters, "xyz", "1")
    with pytest.raises(ClientError, match="seed takes a whole number"):
        set_parameter(parameters, "seed", "1.5")


def test_forms_of_responses(tmp_path: Path) -> None:
    """JSON, a schema, a file with one; what is none is told."""
    assert response_format("json") == {"type": "json_object"}
    schema = {"type": "json_schema", "json_schema": {"name": "response", "schema": {"a": 1}}}
    assert response_format(' {"a": 1}') == schema
    file = tmp_path / "schema.json"
    file.write_text('\ufeff{"a": 1}')
    assert response_format(str(file)) == schema
    for number in ("nan", "inf", "-1e999"):
        with pytest.raises(ClientError, match="takes a number"):
            set_parameter({}, "temperature", number)
    for text in ("{", str(tmp_path)):
        with pytest.raises(ClientError):
            response_format(text)
    file.write_text("[1]")
    with pytest.raises(ClientError, match="no JSON object"):
        response_format(str(file))
    with pytest.raises(NotFound, match="no file"):
        response_format("none.json")


@pytest.mark.parametrize(
    ("how", "members"),
    [
        ("true", {"chat_template_kwargs": {"enable_thinking": True}}),
        ("false", {"chat_template_kwargs": {"enable_thinking": False}}),
        (
            "low",
            {
                "chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": "low"},
                "reasoning_effort": "low",
            },
        ),
    ],
)
def test_reasoning(how: str, members: dict[str, object]) -> None:
    """What templates know, and what the API does."""
    assert reasoning(how) == members
