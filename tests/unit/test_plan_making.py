"""runnerd.relay.plan_making: what the engine is asked, and how its response comes."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.backends.configuration import BackendMode
from runnerd.errors import ClientError
from runnerd.relay.known_model import UNSEEN, known_model
from runnerd.relay.messages import Request
from runnerd.relay.operations import OPERATIONS
from runnerd.relay.parsed_request import ParsedRequest, parse
from runnerd.relay.plan import Plan
from runnerd.relay.plan_making import check_needs, plain_request, plan_request, same_plan
from runnerd.relay.serving_runners import ServingRunner
from runnerd.relay.token_time import TokenTime
from runnerd.relay.translations import PASSED
from runnerd.scheduler import RunnerKey

KEY = RunnerKey("llama.cpp", "load", BackendMode.COMPLETION, "")
CHAT = OPERATIONS["chat/completions"]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


def serving(*, streams_to_cancel: bool = True, spreads: bool = False) -> ServingRunner:
    backend = cast(Any, SimpleNamespace(streams_to_cancel=streams_to_cancel))
    return ServingRunner(
        UNSEEN, "sha256:0", 0, backend, BackendMode.COMPLETION, KEY, spreads, known_model(UNSEEN),
        None, TokenTime(), {},
    )  # fmt: skip


def asked(session: str = "") -> Request:
    request = Request("POST", b"/", "/", [], True, True, None, False, "id")
    request.session = session
    return request


def chat(**said: Any) -> ParsedRequest:
    document = {"model": "ai/m", "messages": [{"role": "user", "content": "a"}], **said}
    return parse(json.dumps(document).encode())


def planned(read: ParsedRequest, found: ServingRunner | None = None) -> Plan:
    return plan_request(CHAT, read, found or serving(), asked(), None)


@pytest.mark.parametrize(
    ("said", "streams", "assembles"),
    [
        ({}, False, True),
        ({"stream": True}, True, False),
        ({"max_tokens": 1}, False, False),
        ({"max_tokens": 1, "logprobs": True}, False, True),
        ({"max_tokens": 9}, False, True),
    ],
)
def test_a_whole_response_is_put_together_from_a_stream(
    said: dict[str, Any], streams: bool, assembles: bool
) -> None:
    """So that a client that leaves is noticed; for one token that is not worth it."""
    plan = planned(chat(**said))
    assert (plan.streams, plan.assembles) == (streams, assembles)
    body = json.loads(b"".join(plan.body))
    assert bool(body.get("stream")) is (streams or assembles)
    assert (plan.key, plan.model, plan.model_ref) == (KEY, "sha256:0", "ai/m")


def test_an_engine_that_does_not_mind_is_asked_as_the_client_asks() -> None:
    """Also where its model has several instances: then the conversation is known by its turns."""
    plan = planned(chat(), serving(streams_to_cancel=False, spreads=True))
    assert not plan.assembles
    assert plan.affinity
    assert planned(chat()).affinity == ()


def test_a_call_beside_a_form_is_a_second_plan() -> None:
    """What is asked if no call comes is made beforehand."""
    plan = planned(chat(tools=TOOLS, response_format={"type": "json_object"}))
    assert plan.again is not None
    assert "response_format" not in json.loads(b"".join(plan.body))
    assert "response_format" in json.loads(b"".join(plan.again.body))


def test_plain_requests_share_a_plan() -> None:
    """But for their bodies; what depends on more than that is planned each time."""
    found, read = serving(), chat()
    plain = plain_request(CHAT, read, found, asked())
    assert plain is not None
    assert plain == plain_request(CHAT, chat(user="other"), found, asked())
    plan = planned(read)
    same = same_plan(plan, read)
    assert b"".join(same.body) == b"".join(plan.body)
    assert same.translation is not plan.translation  # a response is put together only once
    assert plain != plain_request(CHAT, chat(stream=True), found, asked())
    assert plain_request(CHAT, read, serving(spreads=True), asked()) is None
    assert plain_request(CHAT, read, found, asked("s")) is None
    assert plain_request(CHAT, chat(tools=TOOLS), found, asked()) is None


LIMITS = st.sampled_from([1, 9, 10**6, 0, -1, "9", None, 1.5])


@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("max_tokens", "max_completion_tokens", "n_predict"), LIMITS)
    ),
    st.booleans(),
    st.sampled_from([None, 0.001]),
)
def test_a_limit_on_tokens_is_plain(
    said: dict[str, Any], stream: bool, seconds: float | None
) -> None:
    """Whether its response is short enough to be asked for whole is looked at each time; but for
    that, the plan of a chat with a limit is one without.
    """
    found = serving()
    assert found.token_time is not None
    found.token_time.seconds = seconds
    read = chat(stream=stream, **said)
    plan = planned(read, found)
    plain = plain_request(CHAT, read, found, asked())
    assert plain == (plan.streams, plan.assembles, False, None)
    same = same_plan(planned(chat(stream=stream, **({} if plan.assembles else said)), found), read)
    assert b"".join(same.body) == b"".join(plan.body)
    assert type(same.translation) is type(plan.translation)
    unlike = {"body": (), "translation": PASSED}
    assert msgspec.structs.replace(same, **unlike) == msgspec.structs.replace(plan, **unlike)


def test_what_a_model_cannot_is_said_in_ollamas_words() -> None:
    """Its clients look for them."""
    check_needs(("tools", "vision"), UNSEEN, "ai/m")
    with pytest.raises(ClientError, match='"ai/m" does not support flying'):
        check_needs(("tools", "flying"), UNSEEN, "ai/m")
