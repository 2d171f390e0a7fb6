"""What is written about settings is what they are."""

from __future__ import annotations

import argparse
import json
import tomllib
from pathlib import Path

import pytest

from runnerd.cli.setting_pages import (
    EXAMPLES,
    GROUPS,
    every_setting,
    example,
    page,
    settings,
)  # fmt: skip
from runnerd.config import RELOADABLE, Settings

ROOT = Path(__file__).parents[2]


def test_the_page_and_the_example_are_up_to_date() -> None:
    """`runnerd settings --markdown > docs/settings.md`, `--toml > systemd/runnerd.toml`."""
    assert (ROOT / "docs" / "settings.md").read_text() == page()
    assert (ROOT / "systemd" / "runnerd.toml").read_text() == example()


def test_every_setting_is_described() -> None:
    """Once, with what it is."""
    names = [each.name for each in every_setting()]
    assert len(names) == len(set(names))
    assert {name.partition(".")[0] for name in names} == set(Settings.model_fields)
    assert [each.name for each in every_setting() if not each.about] == []
    known = {name for group in GROUPS for name in group.names}
    assert known <= set(Settings.model_fields)
    assert {each.name for each in every_setting() if each.reloadable} >= RELOADABLE & set(names)
    assert EXAMPLES.keys() <= set(names)


def test_an_example_is_no_default(capsys: pytest.CaptureFixture[str]) -> None:
    """What stands in the settings file where the host decides is not told as the default."""
    shown = argparse.Namespace(toml=False, markdown=False, json=False)
    assert settings(shown) == 0
    lines = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines()}
    assert (lines["listen"], lines["tls_key"]) == ('"127.0.0.1:12434"', "PEM")
    shown.json = True
    assert settings(shown) == 0
    told = {each["name"]: each["default"] for each in json.loads(capsys.readouterr().out)}
    assert (told["listen"], told["tls_key"]) == ("127.0.0.1:12434", None)


def test_the_example_is_toml() -> None:
    """Also with every line switched on."""
    assert tomllib.loads(example()) == {}
    assert all(len(line) <= 100 for line in example().splitlines())
