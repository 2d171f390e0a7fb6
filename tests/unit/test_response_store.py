"""Kept responses: found by id, bounded in bytes and time, the ones used last for longest."""

from __future__ import annotations

from typing import Any

import pytest

from runnerd.api.openai import response_store
from runnerd.api.openai.response_store import ResponseStore
from runnerd.errors import ResponseNotFound

ME = "uid:1000"


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The store's."""
    return Clock()


@pytest.fixture
def store(clock: Clock) -> ResponseStore:
    """An empty one."""
    return ResponseStore(clock)


def keep(store: ResponseStore, id: str, text: str = "x") -> None:
    """Keep a response with one item."""
    message: dict[str, Any] = {"id": f"msg_{id}", "content": text}
    store.keep(
        ME, id, [{"role": "user", "content": text}, message], {"id": id, "output": [message]}
    )


def test_found_by_id_and_by_item(store: ResponseStore) -> None:
    """The conversation, the response and its items, until it is forgotten."""
    keep(store, "a")
    assert [item.get("role") for item in store.items(ME, "a")] == ["user", None]
    assert b'"output"' in store.response(ME, "a")
    assert store.item(ME, "msg_a")["content"] == "x"
    store.forget(ME, "a")
    for find in (store.items, store.response, store.item, store.forget):
        with pytest.raises(ResponseNotFound):
            find(ME, "a")
    with pytest.raises(ResponseNotFound):
        store.item(ME, "msg_a")


def test_others_do_not_find_it(store: ResponseStore) -> None:
    """Whoever knows the id of somebody else's response, or of an item in it."""
    keep(store, "a")
    for find in (store.items, store.response, store.forget):
        with pytest.raises(ResponseNotFound):
            find("uid:1001", "a")
    with pytest.raises(ResponseNotFound):
        store.item("uid:1001", "msg_a")
    assert store.response(ME, "a")


def test_the_least_used_makes_room(store: ResponseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bytes for all of them together."""
    monkeypatch.setattr(response_store, "_BYTES", 4500)
    for id in "abc":
        keep(store, id, "x" * 400)
    store.response(ME, "a")
    keep(store, "d", "x" * 400)
    with pytest.raises(ResponseNotFound):
        store.response(ME, "b")
    assert [bool(store.response(ME, id)) for id in "acd"] == [True] * 3


def test_a_large_one_is_not_kept(store: ResponseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """And pushes nobody out."""
    monkeypatch.setattr(response_store, "_LARGEST", 1000)
    keep(store, "a")
    keep(store, "b", "x" * 1000)
    assert store.response(ME, "a")
    with pytest.raises(ResponseNotFound):
        store.response(ME, "b")


def test_a_day(store: ResponseStore, clock: Clock) -> None:
    """After that it is not there, and leaves with the next one that is kept."""
    keep(store, "a")
    clock.now = 24 * 3600.0
    assert store.response(ME, "a")
    clock.now += 1
    with pytest.raises(ResponseNotFound):
        store.response(ME, "a")
    keep(store, "b")
    assert list(store._kept) == ["b"]


def test_ids_are_secrets() -> None:
    """192 bits each."""
    assert len({ResponseStore.new_id() for _ in range(100)}) == 100
    assert len(ResponseStore.new_id()) == len("resp_") + 48
