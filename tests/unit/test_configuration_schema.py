"""The schema of configurations: every field, with its help and where it belongs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from runnerd.configurations import ModelConfiguration, configuration_schema

SCHEMA = configuration_schema()
FIELDS = [
    *((name, about) for name, about in SCHEMA["properties"].items()),
    *(
        (f"{model}.{name}", about)
        for model, schema in SCHEMA["$defs"].items()
        for name, about in schema["properties"].items()
        if model != "PreloadMessage"  # explained where it is used
    ),
]


@pytest.mark.parametrize(("name", "about"), FIELDS)
def test_every_field_has_help(name: str, about: dict[str, Any]) -> None:
    """A sentence or two, short enough to stand below a field."""
    assert re.fullmatch(r"\S.{8,120}", about.get("description", "")), name


def test_every_field_has_a_group() -> None:
    """As the documentation has them: how it is started, kept and asked."""
    text = Path("docs/configuration.md").read_text()
    parts = re.split(r"\| how it is (started|kept|asked) \|", text)
    for group, title in (("starting", "started"), ("keeping", "kept"), ("asking", "asked")):
        section = parts[parts.index(title) + 1]
        names = [name for name, about in SCHEMA["properties"].items() if about["group"] == group]
        assert names
        for name in names:
            assert f"| `{name}` |" in section, name


def test_names_are_those_that_are_configured() -> None:
    """What the schema calls a field is what a configuration is read from."""
    assert set(SCHEMA["properties"]) == {
        field.alias or name for name, field in ModelConfiguration.model_fields.items()
    }
