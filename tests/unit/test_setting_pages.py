"""What is written about settings is what they are."""

from __future__ import annotations

import tomllib
from pathlib import Path

from runnerd.cli.setting_pages import EXAMPLES, GROUPS, every_setting, example, page
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


def test_the_example_is_toml() -> None:
    """Also with every line switched on."""
    assert tomllib.loads(example()) == {}
    assert all(len(line) <= 100 for line in example().splitlines())
