"""runnerd.access.permissions: one table says what each action takes."""

from __future__ import annotations

import pytest

from runnerd.access.actions import Action
from runnerd.access.permissions import FOR_ANYBODY, NEEDED, WITHOUT_A_KEY, Permission


def test_every_action_has_its_row() -> None:
    """An action that nobody thought of would be allowed to nobody, or to all."""
    assert set(NEEDED) == set(Action)
    assert {action for action in FOR_ANYBODY if NEEDED[action] is not None} == set()


def test_the_ten_are_pantrys() -> None:
    """By the names that its programs send."""
    assert {each.value for each in Permission} == {
        "superuser", "load_llm", "unload_llm", "download_llm", "session", "request_download",
        "request_load", "request_unload", "view_llms", "bare_model",
    }  # fmt: skip


@pytest.mark.parametrize("action", Action)
def test_what_changes_something_takes_more_than_using_models(action: Action) -> None:
    """Who is let in without a key makes, removes, configures and reads of others nothing."""
    verb, _, _ = action.value.partition("_")
    if verb in ("manage", "delete", "create", "export", "upload", "configure"):
        assert NEEDED[action] is Permission.SUPERUSER
    if verb in ("load", "unload", "download", "bare"):
        assert NEEDED[action] not in WITHOUT_A_KEY
        assert NEEDED[action] is not None
