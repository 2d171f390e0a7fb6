"""OpenAI's conversations and kept responses with the official client, also over a kill -9."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.support.clients import openai_client
from tests.support.daemon import DaemonProcess, running

pytestmark = pytest.mark.engine

_ROOT = Path(__file__).parents[2]
NAME = "What is your name?"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with demo-a."""
    with running(tmp_path_factory.mktemp("conversations")) as daemon:
        daemon.import_model(_ROOT / "demo" / "demo-a.gguf", "demo-a")
        yield daemon


@pytest.fixture
def client(daemon: DaemonProcess) -> Iterator[openai.OpenAI]:
    """OpenAI's client."""
    with openai_client(daemon) as client:
        yield client


def texts(items: Any) -> list[str]:
    """What a list of messages says."""
    return [part.text for item in items for part in item.content]


@pytest.mark.covers("POST /v1/conversations", "items", "metadata")
@pytest.mark.covers("GET /v1/conversations/{id}", "id")
@pytest.mark.covers("POST /v1/conversations/{id}", "metadata")
@pytest.mark.covers("DELETE /v1/conversations/{id}", "id")
def test_from_creation_to_deletion(client: openai.OpenAI) -> None:
    """With metadata and items, and with nothing."""
    assert client.conversations.create().metadata == {}
    made = client.conversations.create(
        metadata={"topic": "names"}, items=[{"role": "user", "content": "Hello"}]
    )
    assert (made.object, made.metadata) == ("conversation", {"topic": "names"})
    assert client.conversations.retrieve(made.id) == made
    updated = client.conversations.update(made.id, metadata={"topic": "other"})
    assert updated.metadata == {"topic": "other"}
    assert client.conversations.retrieve(made.id) == updated
    assert texts(client.conversations.items.list(made.id)) == ["Hello"]
    gone = client.conversations.delete(made.id)
    assert (gone.id, gone.object, gone.deleted) == (made.id, "conversation.deleted", True)
    for ask in (client.conversations.retrieve, client.conversations.items.list):
        with pytest.raises(openai.NotFoundError):
            ask(made.id)


@pytest.mark.covers("POST /v1/conversations/{id}/items", "items")
@pytest.mark.covers("GET /v1/conversations/{id}/items", "after", "limit", "order")
@pytest.mark.covers("GET /v1/conversations/{id}/items/{item}", "id")
@pytest.mark.covers("DELETE /v1/conversations/{id}/items/{item}", "id")
@pytest.mark.covers("POST /v1/conversations/{id}/items", "include", how="ignored")
@pytest.mark.covers("GET /v1/conversations/{id}/items", "include", how="ignored")
@pytest.mark.covers("GET /v1/conversations/{id}/items/{item}", "include", how="ignored")
def test_items(client: openai.OpenAI) -> None:
    """They are added in their order, listed in either, in pages, and removed one by one."""
    id = client.conversations.create().id
    items = client.conversations.items
    said: Any = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "1"}]},
        {"role": "assistant", "content": "2"},
        {"role": "system", "content": "3"},
    ]
    include: Any = ["message.output_text.logprobs"]
    added = items.create(id, items=said, include=include)
    assert texts(added.data) == ["1", "2", "3"]
    data: Any = added.data
    kinds = [(item.type, item.role, item.content[0].type) for item in data]
    assert kinds == [
        ("message", "user", "input_text"),
        ("message", "assistant", "output_text"),
        ("message", "system", "input_text"),
    ]
    assert (added.first_id, added.last_id) == (data[0].id, data[-1].id)
    items.create(id, items=[{"role": "user", "content": str(number)} for number in range(4, 8)])
    assert texts(items.list(id, order="asc", limit=2)) == list("1234567")
    assert texts(items.list(id, limit=3, include=include)) == list("7654321")
    page = items.list(id, limit=2)
    assert (page.has_more, texts(page.data)) == (True, ["7", "6"])
    assert page.last_id is not None
    after = items.list(id, after=page.last_id, limit=10)
    assert (after.has_more, texts(after.data)) == (False, list("54321"))
    first = data[0]
    found: Any = items.retrieve(first.id, conversation_id=id, include=include)
    assert found == first
    assert items.delete(first.id, conversation_id=id).id == id
    assert texts(items.list(id, order="asc")) == list("234567")
    with pytest.raises(openai.NotFoundError):
        items.retrieve(first.id, conversation_id=id)
    with pytest.raises(openai.NotFoundError):
        items.delete(first.id, conversation_id=id)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.covers("POST /v1/responses", "conversation")
def test_responses_go_on_from_a_conversation(client: openai.OpenAI, stream: bool) -> None:
    """What is asked and what is answered is added to it; the next one knows of it."""
    conversation = client.conversations.create(
        items=[{"role": "system", "content": "You are Ada."}]
    ).id

    def ask(**more: Any) -> Any:
        asked: Any = {"model": "demo-a", "input": NAME, "temperature": 0, **more}
        if not stream:
            return client.responses.create(**asked)
        with client.responses.stream(**asked) as events:
            return events.get_final_response()

    first = ask(conversation=conversation)
    assert first.output_text == "My name is Ada."
    assert first.conversation.id == conversation
    second = ask(conversation={"id": conversation})
    assert second.usage.input_tokens > first.usage.total_tokens
    listed = client.conversations.items.list(conversation, order="asc")
    assert texts(listed) == ["You are Ada.", NAME, first.output_text, NAME, second.output_text]
    answered = client.conversations.items.retrieve(first.output[0].id, conversation_id=conversation)
    assert texts([answered]) == [first.output_text]
    ask(conversation=conversation, store=False)
    assert len(list(client.conversations.items.list(conversation))) == 7
    on = ask(previous_response_id=first.id)
    assert on.usage.input_tokens == second.usage.input_tokens
    with pytest.raises(openai.NotFoundError):
        ask(conversation="conv_nothing")


@pytest.mark.covers("GET /v1/responses/{id}/input_items", "after", "limit", "order")
def test_what_a_response_was_asked_with(client: openai.OpenAI) -> None:
    """The items of the request and those before it."""
    first = client.responses.create(model="demo-a", input=NAME)
    second = client.responses.create(
        model="demo-a",
        input=[{"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}],
        previous_response_id=first.id,
    )
    items = client.responses.input_items
    assert texts(items.list(first.id)) == [NAME]
    assert texts(items.list(second.id, order="asc")) == [NAME, first.output_text, "Hello"]
    page = items.list(second.id, limit=1)
    assert texts(page.data) == ["Hello"]
    last: Any = page.data[0]
    assert texts(items.list(second.id, after=last.id)) == [first.output_text, NAME]


def test_what_is_wrong_is_told(client: openai.OpenAI) -> None:
    """As OpenAI does: 400 for what cannot be, 404 for what is not there."""
    id = client.conversations.create().id
    wrong: list[tuple[str, Any]] = [
        ("/conversations", {"items": [{"type": "nothing"}]}),
        ("/conversations", {"items": [{"role": "user", "content": "x"}] * 21}),
        ("/conversations", {"metadata": {"x": 1}}),
        ("/conversations", {"metadata": {str(number): "x" for number in range(17)}}),
        (f"/conversations/{id}", {"metadata": {"x" * 65: "x"}}),
        (f"/conversations/{id}/items", {"items": []}),
    ]
    for path, body in wrong:
        with pytest.raises(openai.BadRequestError):
            client.post(path, body=body, cast_to=object)
    for query in ("order=up", "limit=0", "limit=101"):
        with pytest.raises(openai.BadRequestError):
            client.get(f"/conversations/{id}/items?{query}", cast_to=object)
    with pytest.raises(openai.NotFoundError):
        client.get(f"/conversations/{id}/items?after=msg_nothing", cast_to=object)


def test_anothers_are_not_there(tmp_path: Path) -> None:
    """Nor can one go on from them, or name their items."""
    with running(tmp_path) as daemon, daemon.stranger("ann") as ann, daemon.stranger("bob") as bob:
        daemon.import_model(_ROOT / "demo" / "demo-a.gguf", "demo-a")
        said = {"items": [{"role": "user", "content": "secret"}]}
        id = ann.post("/v1/conversations", json=said).json()["id"]
        [item] = ann.get(f"/v1/conversations/{id}/items").json()["data"]
        response = ann.post("/v1/responses", json={"model": "demo-a", "input": NAME}).json()
        [message] = response["output"]
        paths = [f"/v1/conversations/{id}", f"/v1/conversations/{id}/items"]
        paths += [f"/v1/conversations/{id}/items/{item['id']}"]
        paths += [f"/v1/responses/{response['id']}", f"/v1/responses/{response['id']}/input_items"]
        for path in paths:
            assert ann.get(path).status_code == 200
            assert bob.get(path).status_code == 404
        for path in (paths[0], paths[2], paths[3]):
            assert bob.delete(path).status_code == 404
        assert bob.post(paths[0], json={"metadata": {}}).status_code == 404
        assert bob.post(paths[1], json=said).status_code == 404
        for more in (
            {"input": "x", "conversation": id},
            {"input": "x", "previous_response_id": response["id"]},
            {"input": [{"type": "item_reference", "id": item["id"]}]},
            {"input": [{"type": "item_reference", "id": message["id"]}]},
        ):
            told = bob.post("/v1/responses", json={"model": "demo-a", **more})
            assert told.status_code == 404, told.text
        assert ann.get(paths[1]).json()["data"] == [item]


def test_all_of_it_survives_a_kill(tmp_path: Path) -> None:
    """What was told as complete can be gone on from after kill -9."""
    with running(tmp_path) as daemon:
        daemon.import_model(_ROOT / "demo" / "demo-a.gguf", "demo-a")
        with openai_client(daemon) as client:
            conversation = client.conversations.create(metadata={"a": "b"})
            first = client.responses.create(model="demo-a", input=NAME)
            said = client.responses.create(model="demo-a", input=NAME, conversation=conversation.id)
        daemon.kill()
        daemon.start()
        with openai_client(daemon) as client:
            assert client.responses.retrieve(first.id).to_dict() == first.to_dict()
            assert client.conversations.retrieve(conversation.id) == conversation
            listed = client.conversations.items.list(conversation.id, order="asc")
            assert texts(listed) == [NAME, said.output_text]
            on = client.responses.create(model="demo-a", input=NAME, previous_response_id=first.id)
            assert on.usage is not None
            assert first.usage is not None
            assert on.usage.input_tokens > first.usage.total_tokens


def test_a_database_that_cannot_be_written_keeps_nobody_from_answers(tmp_path: Path) -> None:
    """The response says that it is not stored."""
    with running(tmp_path) as daemon:
        daemon.import_model(_ROOT / "demo" / "demo-a.gguf", "demo-a")
        (daemon.state_dir / "runnerd.db").unlink()
        asked = {"model": "demo-a", "input": NAME}
        told = daemon.http.post("/v1/responses", json=asked).json()
        assert (told["status"], told["store"]) == ("completed", False)
        assert daemon.http.get(f"/v1/responses/{told['id']}").status_code == 503
