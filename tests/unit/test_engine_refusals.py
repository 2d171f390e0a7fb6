"""A request that its engine has refused: asked in other words where there are any, else ended."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from runnerd.errors import RunnerdError
from runnerd.relay.aside import TakesLonger
from runnerd.relay.background import Steps
from runnerd.relay.engine_errors import EngineRefusal
from runnerd.relay.engine_refusals import refuse
from runnerd.relay.plan import Plan
from runnerd.relay.response_adapters.unparsed_end import UnparsedEnd
from runnerd.relay.response_parser import ResponseHead
from runnerd.relay.translations import PASSED

ERROR = {"message": "no such grammar", "type": "invalid_request_error"}
UNPARSED = {"message": "The model produced output that does not match the expected format"}


class Call:
    """A call whose engine has refused; it notes what becomes of it."""

    def __init__(self, *, other: object = None, large: bool = False, translation: Any = PASSED):
        self.found: list[str] = []
        self.errors: list[RunnerdError] = []
        self.steps: list[Steps] = []
        self.looked = 0
        self.status = 400
        self.closed = False
        self.plan = cast(
            Plan,
            SimpleNamespace(is_large=large, otherwise=self.otherwise, translation=translation),
        )
        self.exchange = cast(Any, SimpleNamespace(fail=self.errors.append, go_on=self.steps.append))
        self._other = other

    def otherwise(self, error: dict[str, Any]) -> Any:
        self.looked += 1
        if isinstance(self._other, Exception):
            error_of_the_look = self._other
            self._other = object()
            raise error_of_the_look
        return self._other

    def ask(self) -> None:
        self.found.append("asked")

    def engine_head(self, head: ResponseHead) -> bool:
        self.found.append(f"head {head.status}")
        return False

    def engine_body(self, data: bytes) -> None:
        self.found.append(data.decode())

    def engine_done(self) -> None:
        self.found.append("done")


def test_other_words_are_asked() -> None:
    """The call goes on with the plan that has them."""
    other = object()
    call = Call(other=other)
    refuse(call, ERROR, refused=True)
    assert (call.plan, call.found, call.errors) == (other, ["asked"], [])


def test_without_other_words_it_has_failed() -> None:
    """Its client gets the engine's own error."""
    call = Call()
    refuse(call, ERROR, refused=True)
    (error,) = call.errors
    assert isinstance(error, EngineRefusal)
    assert (error.status, str(error), call.found) == (400, "no such grammar", [])


def test_what_is_no_refusal_has_no_other_words() -> None:
    """A stream that ends with an error has begun: nothing of it is asked again."""
    call = Call(other=object())
    refuse(call, ERROR, refused=False)
    assert (len(call.errors), call.looked, call.found) == (1, 0, [])


@pytest.mark.parametrize("kind", [{"large": True, "other": object()}, {"other": TakesLonger()}])
async def test_what_takes_long_is_put_otherwise_beside_the_loop(kind: dict[str, Any]) -> None:
    """A large request, and one whose look turns out to be long: in steps of its own."""
    call = Call(**kind)
    refuse(call, ERROR, refused=True)
    assert (call.found, call.errors) == ([], [])
    (steps,) = call.steps
    await steps()
    assert (call.found, call.errors) == (["asked"], [])


async def test_nobody_waits_any_more() -> None:
    """A call that was closed meanwhile neither asks nor fails."""
    call = Call(large=True, other=object())
    refuse(call, ERROR, refused=True)
    call.closed = True
    await call.steps[0]()
    assert (call.found, call.errors) == ([], [])


def test_a_response_that_its_engine_could_not_read_is_one_that_was_cut() -> None:
    """It has a head, the engine's error as its event, and an end; without a translation for such
    ends it has failed.
    """
    call = Call(translation=UnparsedEnd(PASSED, "m"))
    refuse(call, UNPARSED, refused=True)
    head, event, end = call.found
    assert (head, end, call.errors) == ("head 200", "done", [])
    assert UNPARSED["message"] in event
    passed = Call()
    refuse(passed, UNPARSED, refused=True)
    assert (passed.found, len(passed.errors)) == ([], 1)
