"""`runnerd session` against a real daemon and engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_user_commands import document, runnerd
from tests.support.daemon import DaemonProcess, running

pytestmark = pytest.mark.engine

DEMO = Path(__file__).parents[2] / "demo"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with running(tmp_path_factory.mktemp("daemon")) as daemon:
        daemon.import_model(DEMO / "demo-a.gguf", "a")
        yield daemon


def test_from_the_first_prompt_to_the_end(daemon: DaemonProcess) -> None:
    """prompt, list, show, interrupt, rm."""
    status, out, err = runnerd(daemon, "session", "prompt", "talk", "Hello", "--model", "a")
    assert (status, err) == (0, "")
    again = document(daemon, "session", "prompt", "talk", "What is your name?")
    shown = document(daemon, "session", "show", "talk")
    assert [turn["prompt"] for turn in shown["history"]] == ["Hello", "What is your name?"]
    assert shown["history"][0]["response"] == out.removesuffix("\n")
    assert shown["history"][1] == again["turn"]
    [listed] = document(daemon, "session", "list")
    assert (listed["name"], listed["turns"]) == ("talk", 2)
    status, out, _ = runnerd(daemon, "session")
    assert [line.split()[0] for line in out.splitlines()] == ["ID", listed["id"][:8]]
    assert ">>> What is your name?" in runnerd(daemon, "session", "show", listed["id"][:8])[1]
    assert document(daemon, "session", "interrupt", "talk") == {"interrupted": 0}
    assert document(daemon, "session", "rm", "talk") == [{"id": listed["id"], "deleted": True}]
    status, _, err = runnerd(daemon, "session", "show", "talk")
    assert (status, "no session 'talk'" in err) == (1, True)


def test_run_goes_on_where_it_was(daemon: DaemonProcess) -> None:
    """`run --session` begins a session, and goes on with it; it stays with its model."""
    first = runnerd(daemon, "run", "--session", "long", "a", "My favourite colour is blue.")
    assert first[0] == 0
    status, out, err = runnerd(
        daemon, "run", "--session", "long", "a", "What is my favourite colour?"
    )
    assert (status, out, err) == (0, "Your favourite colour is blue.\n", "")
    shown = document(daemon, "session", "show", "long")
    assert [turn["response"] for turn in shown["history"]] == [
        first[1].rstrip("\n"),
        out.rstrip("\n"),
    ]


def test_what_is_wrong_is_told(daemon: DaemonProcess) -> None:
    """An unknown session, an unknown model, nothing to say."""
    for arguments, words in (
        (("prompt", "nothing", "Hello"), "no session 'nothing'"),
        (("prompt", "new", "Hello", "--model", "nothing"), "nothing"),
        (("prompt", "new", " ", "--model", "a"), "nothing to say"),
    ):
        status, out, err = runnerd(daemon, "session", *arguments)
        assert (status, out) == (1, "")
        assert words in err
