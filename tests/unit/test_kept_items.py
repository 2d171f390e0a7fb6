"""Items as they are kept and told, and lists of them in pages."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from runnerd.api.openai.kept_items import page, shown, with_ids
from runnerd.errors import ClientError, ConversationNotFound


def asked(query: str = "") -> web.Request:
    return make_mocked_request("GET", f"/?{query}")


def test_items_get_ids_of_their_kind() -> None:
    """Those that have one keep it."""
    given_items: list[dict[str, Any]] = [
        {"role": "user", "content": "x"},
        {"type": "function_call", "id": ""},
        {"type": "reasoning"},
        {"type": "other"},
        {"id": "mine", "role": "user"},
    ]
    ids = [item["id"] for item in with_ids(given_items)]
    assert [id.partition("_")[0] for id in ids] == ["msg", "fc", "rs", "item", "mine"]
    assert len({*ids}) == 5
    assert "id" not in given_items[0]


@pytest.mark.parametrize(
    ("role", "content", "parts"),
    [
        ("user", "x", [{"type": "input_text", "text": "x"}]),
        ("user", [{"type": "text", "text": "x"}], [{"type": "input_text", "text": "x"}]),
        ("user", [{"type": "input_image"}], [{"type": "input_image"}]),
        ("user", None, [{"type": "input_text", "text": ""}]),
        (
            "assistant",
            "x",
            [{"type": "output_text", "text": "x", "annotations": [], "logprobs": []}],
        ),
        ("assistant", [{"type": "refusal"}, 3], [{"type": "refusal"}, 3]),
    ],
)
def test_messages_are_told_in_parts(role: str, content: object, parts: object) -> None:
    """However they were given."""
    told = shown({"id": "i", "role": role, "content": content})
    assert told == {
        "id": "i", "type": "message", "status": "completed", "role": role, "content": parts
    }  # fmt: skip


def test_other_items_are_told_as_they_are() -> None:
    """With what OpenAI's always have."""
    call = {"id": "i", "type": "function_call", "name": "x", "status": "in_progress"}
    assert shown(call) == call
    assert shown({"id": "i", "type": "reasoning"})["summary"] == []


@given(st.integers(0, 60), st.integers(1, 25), st.sampled_from(["asc", "desc"]))
def test_pages_are_all_of_the_list(count: int, limit: int, order: str) -> None:
    """Each begins behind the last one's end."""
    items = [{"id": str(number), "role": "user"} for number in range(count)]
    seen: list[str] = []
    more, after = True, ""
    while more:
        found = page(asked(f"order={order}&limit={limit}{after}"), items)
        seen += [item["id"] for item in found["data"]]
        more, after = found["has_more"], f"&after={found['last_id']}"
        assert len(found["data"]) == limit or not more
    ids = [item["id"] for item in items]
    assert seen == (ids if order == "asc" else ids[::-1])


@pytest.mark.parametrize("query", ["order=x", "limit=0", "limit=101", "limit=x", "limit=-1"])
def test_what_no_page_can_be(query: str) -> None:
    """Is refused; an item that is not there is not found."""
    with pytest.raises(ClientError):
        page(asked(query), [])
    with pytest.raises(ConversationNotFound):
        page(asked("after=x"), [])
