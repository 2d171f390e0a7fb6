"""Settings of Pantry's API."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from runnerd.pantry_settings import PantrySettings


def test_defaults() -> None:
    """Where pantry-rs looks, of its port this host alone; and nothing of it unless it is said."""
    found = PantrySettings()
    assert found.enabled is False
    assert found.socket == Path("/tmp/pantrylocal.sock")
    assert found.listen == "127.0.0.1:9404"
    assert found.bare_models is None


def test_an_empty_folder_is_none() -> None:
    """It is not the folder that the daemon happens to be in."""
    assert PantrySettings.model_validate({"bare_models": ""}).bare_models is None
    assert PantrySettings.model_validate({"bare_models": "/x"}).bare_models == Path("/x")


@pytest.mark.parametrize("said", [{"sockets": "/x"}, {"socket_mode": "9"}, {"enabled": "perhaps"}])
def test_what_is_none(said: dict[str, str]) -> None:
    """Wrong names and values are refused."""
    with pytest.raises(ValidationError):
        PantrySettings.model_validate(said)
