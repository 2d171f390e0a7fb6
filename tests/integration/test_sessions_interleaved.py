"""Two users talk to one model with two slots, in any order and over swaps: nothing crosses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.daemon import DaemonProcess, running
from tests.support.sessions import evaluated, make, prompt

pytestmark = [pytest.mark.long, pytest.mark.engine, pytest.mark.timeout(600)]

DEMO = Path(__file__).parents[2] / "demo"
TEXTS = ("What is my favourite colour?", "How are you?", "What is runnerd?", "Hello!")
COLOURS = {("ann", 0): "red", ("ann", 1): "blue", ("bob", 0): "turquoise", ("bob", 1): "green"}
MOST_TURNS = 5  # what the model was made for; beyond it is undecided between words
LAST_TOKENS = 16  # of what was evaluated: where a template begins or ends
FEW_TOKENS = 32  # of a session are evaluated as quickly as they are read, and not saved


class Say(NamedTuple):
    """A user says something in one of two sessions."""

    user: str
    session: int
    text: str


SAYS = st.builds(Say, st.sampled_from(["ann", "bob"]), st.integers(0, 1), st.sampled_from(TEXTS))
STEPS = st.lists(st.one_of(SAYS, SAYS, SAYS, st.sampled_from(["swap", "unload"])), max_size=12)


class Users:
    """A daemon with one place for a model, and two users."""

    def __init__(self, daemon: DaemonProcess, clients: dict[str, httpx.Client]) -> None:
        self.daemon = daemon
        self.clients = clients
        self._answers: dict[tuple[str, ...], str] = {}

    def begin(self, user: str, number: int) -> str:
        """A session with what its user wants."""
        http = self.clients[user]
        return make(http, system="", parameters={"temperature": 0, "max_tokens": 40})

    def undisturbed(self, user: str, number: int, texts: tuple[str, ...]) -> str:
        """What is answered last where nobody else talks."""
        if (user, str(number), *texts) not in self._answers:
            id = self.begin(user, number)
            for count, text in enumerate(texts, 1):
                answer = str(prompt(self.clients[user], id, text)["response"])
                self._answers[(user, str(number), *texts[:count])] = answer
        return self._answers[(user, str(number), *texts)]

    def swap(self) -> None:
        """Let another model have the place."""
        prompt(self.daemon.http, make(self.daemon.http, model="b"), "Hello")

    def unload(self) -> None:
        """Let nobody have it."""
        self.daemon.http.post("/engines/unload", json={"all": True})


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Users]:
    with running(tmp_path_factory.mktemp("daemon"), env={"RUNNERD_MAX_RUNNERS": "1"}) as daemon:
        for name in "ab":
            daemon.import_model(DEMO / f"demo-{name}.gguf", name)
        daemon.http.post("/engines/_configure", json={"model": "a", "parallel": 2})
        with daemon.stranger("ann") as ann, daemon.stranger("bob") as bob:
            yield Users(daemon, {"ann": ann, "bob": bob})


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(
    [Say("ann", 0, ""), Say("bob", 0, ""), "swap", Say("ann", 0, TEXTS[0]), Say("bob", 0, TEXTS[0])]
)
@given(steps=STEPS)
def test_nothing_crosses_and_nothing_is_evaluated_twice(
    users: Users, steps: list[Say | str]
) -> None:
    """Each answer is that of an undisturbed session, and each prompt but a session's first one
    evaluates what is new, and the last tokens of what was before.
    """
    sessions: dict[tuple[str, int], str] = {}
    said: dict[tuple[str, int], tuple[str, ...]] = {}
    before: dict[tuple[str, int], int] = {}
    answers = []
    for step in steps:
        if isinstance(step, str):
            users.swap() if step == "swap" else users.unload()
            continue
        who = step.user, step.session
        text = step.text
        if who not in sessions:
            sessions[who] = users.begin(*who)
            text = f"My favourite colour is {COLOURS[who]}."
        elif len(said[who]) == MOST_TURNS:
            continue
        turn = prompt(users.clients[step.user], sessions[who], text)
        usage = turn["usage"]
        if before.get(who, 0) >= FEW_TOKENS:
            new = usage["prompt_tokens"] - before[who]
            assert evaluated(turn) <= new + LAST_TOKENS, (step, turn)
        before[who] = usage["prompt_tokens"] + usage["completion_tokens"]
        said[who] = (*said.get(who, ()), text)
        answers.append((who, said[who], turn["response"]))
    for who, texts, answer in answers:
        assert answer == users.undisturbed(*who, texts)
