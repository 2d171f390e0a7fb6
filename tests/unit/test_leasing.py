"""What exchanges ask of the supervisor: the real one has it, with the same parameters."""

from __future__ import annotations

import inspect

import pytest

from runnerd.relay.leasing import Leasing, RunnersSessions
from runnerd.supervisor import Supervisor
from runnerd.supervisor.session_states import SessionStates


@pytest.mark.parametrize(
    ("asked", "real"), [(Leasing, Supervisor), (RunnersSessions, SessionStates)]
)
def test_it_is_what_the_supervisor_has(asked: type, real: type) -> None:
    """Names, order and kinds of parameters."""
    methods = [name for name, _ in inspect.getmembers(asked, inspect.isfunction) if name[0] != "_"]
    assert methods
    for name in methods:
        wanted, has = (inspect.signature(getattr(each, name)) for each in (asked, real))
        assert [*wanted.parameters.values()] == [*has.parameters.values()], name
