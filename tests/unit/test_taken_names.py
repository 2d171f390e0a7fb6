"""runnerd.cli.taken_names: a name that another model has is not taken from it unasked."""

from __future__ import annotations

from argparse import Namespace
from typing import Any, cast
from urllib.parse import unquote

import pytest

from runnerd.cli.client import DaemonError
from runnerd.cli.taken_names import check_free, is_taken
from runnerd.errors import Conflict, InvalidReference

TAKEN: dict[str, Any] = {"id": "sha256:0123456789abcdef", "tags": ["ai/one:latest"]}


class Client:
    """The daemon has one model, which it also finds by the last part of its name."""

    def json(self, method: str, path: str) -> Any:
        path = unquote(path)
        if path.endswith("one:latest"):
            return TAKEN
        found = DaemonError("not found")
        found.answer_status = 500 if "broken" in path else 404
        raise found


CLIENT = cast(Any, Client())


def test_a_name_is_taken_exactly_or_not() -> None:
    """What only leads to the model is free."""
    assert is_taken(CLIENT, "ai/one")
    assert not is_taken(CLIENT, "team/one")
    assert not is_taken(CLIENT, "ai/two")
    with pytest.raises(DaemonError):
        is_taken(CLIENT, "ai/broken")


def test_it_takes_force(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can be asked; the model that has it already may be given it again."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    for name, force, unless in ((None, False, ""), ("ai/two", False, ""), ("ai/one", True, "")):
        check_free(CLIENT, name, Namespace(force=force), unless=unless)
    check_free(CLIENT, "ai/one", Namespace(force=False), unless=TAKEN["id"])
    with pytest.raises(Conflict, match="--force"):
        check_free(CLIENT, "ai/one", Namespace(force=False))
    with pytest.raises(InvalidReference):
        check_free(CLIENT, "no name!", Namespace(force=False))
