"""What clients send that no specification has, or that engines refuse: it is understood."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.media import png
from tests.support.projectors import IMAGE_TOKENS, write_projector

pytestmark = pytest.mark.engine

_DEMO = Path(__file__).parents[2] / "demo"
_TURN = "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
_ALTERNATING = (
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/...') }}{% endif %}"
    + _TURN
    + "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NAME: dict[str, Any] = {"role": "user", "content": "What is your name?"}
SAID: dict[str, Any] = {"role": "assistant", "content": "Hello!"}
SYSTEM: dict[str, Any] = {"role": "system", "content": "Be brief."}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLED: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT: dict[str, Any] = {"role": "tool", "tool_call_id": "c1", "content": "5"}
PNG = base64.b64encode(png(8, 8, bytes((255, 0, 0)) * 8)).decode()
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"words": {"type": "array", "items": {"type": "string"}, "minItems": 9}},
    "required": ["words"],
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with a model that answers, a strict one, one with a stop word, and one that sees."""
    root = tmp_path_factory.mktemp("odd")
    tiny.write_completion_model(root / "tiny.gguf", context_length=4096)
    write_projector(root / "mmproj.gguf")
    with running(root / "daemon") as daemon:
        daemon.import_model(_DEMO / "demo-a.gguf", "demo-a")
        files = {}
        for name in ("tiny.gguf", "mmproj.gguf"):
            data = (root / name).read_bytes()
            files[name] = f"sha256:{hashlib.sha256(data).hexdigest()}"
            assert daemon.http.post(f"/api/blobs/{files[name]}", content=data).status_code == 201
        for made in (
            {"model": "strict", "from": "demo-a", "template": _ALTERNATING},
            {"model": "stopped", "from": "demo-a", "parameters": {"stop": [" Demo"]}},
            {"model": "seer", "files": files},
        ):
            response = daemon.http.post("/api/create", json={**made, "stream": False})
            assert response.status_code == 200, response.text
        yield daemon


def posted(daemon: DaemonProcess, path: str, body: Any) -> httpx.Response:
    """What comes back, with status 200, where the model is loaded and where it is not."""
    text = body if isinstance(body, str) else json.dumps(body)
    responses = []
    for _ in range(2):
        responses.append(daemon.http.post(path, content=text))
        assert responses[-1].status_code == 200, (path, responses[-1].text)
        assert daemon.http.post("/engines/unload", json={"all": True}).status_code == 200
    return responses[-1]


def chat(daemon: DaemonProcess, messages: list[Any], **more: Any) -> str:
    """What a chat completion says."""
    body = {"model": "demo-a", "messages": messages, **more}
    found = posted(daemon, "/v1/chat/completions", body).json()
    return str(found["choices"][0]["message"]["content"])


@pytest.mark.parametrize(
    "messages",
    [
        [SAID, NAME],
        [NAME, SAID, SAID, NAME],
        [SYSTEM, SAID, NAME],
        [SYSTEM, NAME],
        [NAME, CALLED, RESULT, NAME],
        [NAME, CALLED, RESULT],
        [NAME, CALLED, RESULT, SAID, SAID, NAME],
    ],
)
def test_strict_turns(daemon: DaemonProcess, messages: list[Any]) -> None:
    """Templates that know a user and an assistant by turns, and nobody else, get what they take."""
    assert chat(daemon, messages, model="strict")
    body: Any = {"model": "strict", "messages": messages, "stream": False}
    told = posted(daemon, "/api/chat", body).json()
    assert told["message"]["content"]


def test_strict_turns_of_other_apis(daemon: DaemonProcess) -> None:
    """Anthropic's blocks and OpenAI's items."""
    used = {"type": "tool_use", "id": "c1", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "5"}
    blocks = [
        *(SAID, NAME, {"role": "assistant", "content": [used]}),
        {"role": "user", "content": [result]},
    ]
    asked = {"model": "strict", "max_tokens": 20, "system": "Be brief.", "messages": blocks}
    assert posted(daemon, "/v1/messages", asked).json()["content"][0]["text"]
    items = [
        *(SAID, NAME, {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}),
        {"type": "function_call_output", "call_id": "c", "output": "5"},
    ]
    told = posted(daemon, "/v1/responses", {"model": "strict", "input": items}).json()
    assert told["output"][0]["content"][0]["text"]


@pytest.mark.covers("POST /v1/chat/completions", "stop", note="empty ones are not said")
@pytest.mark.parametrize("stop", ["", [""], [], ["", "Nobody says this"]])
def test_empty_stop_words(daemon: DaemonProcess, stop: Any) -> None:
    """End nothing; where nothing else is said the maker's stop."""
    assert chat(daemon, [NAME], stop=stop) == "My name is Demo A."
    if not (isinstance(stop, list) and any(stop)):
        assert chat(daemon, [NAME], stop=stop, model="stopped") == "My name is"
    options = {"stop": stop, "temperature": 0}
    body = {"model": "demo-a", "messages": [NAME], "stream": False, "options": options}
    told = posted(daemon, "/api/chat", body).json()["message"]["content"]
    assert told == "My name is Demo A."
    asked = {"model": "demo-a", "max_tokens": 20, "messages": [NAME], "stop_sequences": stop}
    if isinstance(stop, list):
        told = posted(daemon, "/v1/messages", asked).json()["content"][0]["text"]
        assert told == "My name is Demo A."


@pytest.mark.covers("POST /v1/chat/completions", "image_url:data", note="in any form")
@pytest.mark.parametrize(
    "image",
    [
        f"data:image/png;base64,{PNG}",
        {"url": f"data:;base64,{PNG}"},
        {"url": "data:image/png;base64," + "\r\n".join(PNG[i : i + 9] for i in range(0, 99, 9))},
        {"url": f"data:image/png;charset=utf-8;base64,{PNG}"},
        {"url": f"DATA:image/png;base64, {PNG}"},
    ],
)
def test_images(daemon: DaemonProcess, image: Any) -> None:
    """As an address alone, in lines, and without a type."""
    url = image if isinstance(image, str) else image["url"]
    asked = {"model": "seer", "max_tokens": 1}
    part = {"type": "image_url", "image_url": image}
    body = {**asked, "messages": [{"role": "user", "content": [part]}]}
    used = posted(daemon, "/v1/chat/completions", body).json()["usage"]
    assert used["prompt_tokens"] > IMAGE_TOKENS
    item = {"role": "user", "content": [{"type": "input_image", "image_url": url}]}
    posted(daemon, "/v1/responses", {"model": "seer", "max_output_tokens": 1, "input": [item]})
    source = {"type": "base64", "media_type": "image/png", "data": url.partition(",")[2]}
    block = {"role": "user", "content": [{"type": "image", "source": source}]}
    posted(daemon, "/v1/messages", {**asked, "messages": [block]})
    for data in (url.partition(",")[2], url):
        message = {"role": "user", "content": "x", "images": [data]}
        body = {"model": "seer", "stream": False, "messages": [message]}
        posted(daemon, "/api/chat", {**body, "options": {"num_predict": 1}})


@pytest.mark.parametrize("image", [None, {}, {"url": None}, 5])
def test_no_image(daemon: DaemonProcess, image: Any) -> None:
    """An image that is none is the client's mistake, and said so."""
    part = {"type": "image_url", "image_url": image}
    body = {"model": "seer", "messages": [{"role": "user", "content": [part]}]}
    response = daemon.http.post("/v1/chat/completions", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "image_url"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", '{"model":"demo-a","messages":[%s]}'),
        ("/v1/messages", '{"model":"demo-a","max_tokens":9,"messages":[%s]}'),
        ("/v1/responses", '{"model":"demo-a","input":[%s]}'),
        ("/api/chat", '{"model":"demo-a","messages":[%s],"stream":false}'),
    ],
)
def test_half_a_character(daemon: DaemonProcess, path: str, body: str) -> None:
    """Is replaced as it is where bytes are no character."""
    cut, whole = (
        '{"role":"user","content":"Hello \\ud83d"}',
        '{"role":"user","content":"Hello \ufffd"}',
    )
    told = [posted(daemon, path, body % message).text for message in (cut, whole)]
    assert [json.loads(text).get("usage", {}).get("prompt_tokens") for text in told] == [
        json.loads(told[1]).get("usage", {}).get("prompt_tokens")
    ] * 2
    assert "\\ufffd" not in body


@pytest.mark.covers("POST /v1/chat/completions", "tool_calls", note="without type or arguments")
@pytest.mark.parametrize(
    "call",
    [
        {"id": "c1", "function": {"name": "f", "arguments": "{}"}},
        {"id": "c1", "type": "function", "function": {"name": "f"}},
        {"function": {"name": "f", "arguments": {"a": 1}}},
        {"id": "c1", "type": "custom", "custom": {"name": "f", "input": "x"}},
    ],
)
def test_calls_in_a_history(daemon: DaemonProcess, call: Any) -> None:
    """As other servers write them, and clients send them back."""
    assert chat(daemon, [NAME, {**CALLED, "tool_calls": [call]}, RESULT])


@pytest.mark.covers("POST /v1/responses", "input:calls", note="of any kind of tool")
@pytest.mark.parametrize(
    "items",
    [
        [
            {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "x"},
            {"type": "custom_tool_call_output", "call_id": "c", "output": "y"},
        ],
        [
            {"type": "local_shell_call", "call_id": "c", "action": {"command": ["ls"]}},
            {"type": "local_shell_call_output", "id": "c", "output": "y"},
        ],
        [{"type": "web_search_call", "id": "w", "action": {"type": "search", "query": "q"}}],
        [{"type": "mcp_list_tools", "id": "m", "tools": []}],
        [{"type": "function_call", "call_id": "c", "name": "f"}],
    ],
)
def test_items(daemon: DaemonProcess, items: list[Any]) -> None:
    """Calls of every kind of tool may stand in a conversation that goes on here."""
    body = {"model": "demo-a", "input": [NAME, *items, NAME], "max_output_tokens": 9}
    assert posted(daemon, "/v1/responses", body).json()["output"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_that_is_cut(daemon: DaemonProcess, stream: bool) -> None:
    """The client gets what there is, and that it is not all, in every API."""
    asked: Any = {"model": "demo-a", "stream": stream}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
    limit: Any = {"max_tokens": 6, "messages": [NAME]}
    for path, body, reason in (
        ("/v1/chat/completions", limit | {"response_format": form}, '"finish_reason":"length"'),
        (
            "/v1/responses",
            {
                **{"input": "x", "max_output_tokens": 6},
                "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}},
            },
            '"reason":"max_output_tokens"',
        ),
        (
            "/v1/messages",
            limit | {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
            '"stop_reason":"max_tokens"',
        ),
        (
            "/api/chat",
            {"messages": [NAME], "format": SCHEMA, "options": {"num_predict": 6}},
            '"done_reason":"length"',
        ),
    ):
        text = posted(daemon, path, {**asked, **body}).text
        assert reason in text, (path, text)
        assert "peg-native" not in text


@pytest.mark.covers("POST /v1/chat/completions", "n", note="in rounds where slots are fewer")
@pytest.mark.covers("POST /v1/completions", "n", note="in rounds where slots are fewer")
@pytest.mark.parametrize("stream", [False, True])
def test_more_responses_than_slots(daemon: DaemonProcess, stream: bool) -> None:
    """Come in one response, numbered through."""
    asked: Any = {"model": "demo-a", "n": 10, "max_tokens": 3, "stream": stream, "seed": 1}
    if stream:
        asked |= {"stream_options": {"include_usage": True}}
    for path, more in (
        ("/v1/chat/completions", {"messages": [NAME]}),
        ("/v1/completions", {"prompt": ["My name", "It is"]}),
    ):
        response = daemon.http.post(path, json=asked | more)
        assert response.status_code == 200, response.text
        texts = [response.text]
        if stream:
            *texts, end = [line[6:] for line in response.text.splitlines() if line]
            assert end == "[DONE]"
        found = [json.loads(text) for text in texts]
        count = 20 if "prompt" in more else 10
        choices = [choice for each in found for choice in each["choices"]]
        assert {choice["index"] for choice in choices} == set(range(count))
        assert found[-1]["usage"]["completion_tokens"] == 3 * count


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
def test_byte_order_mark(daemon: DaemonProcess, path: str) -> None:
    """What Windows programs put in front of a text is not part of it."""
    body = b"\xef\xbb\xbf" + json.dumps({"model": "demo-a", "messages": [NAME]}).encode()
    response = daemon.http.post(path, content=body)
    assert response.status_code == 200, response.text


@pytest.mark.covers("POST /api/embed", "truncate", note="to `num_ctx`, too")
@pytest.mark.parametrize("texts", [["word " * 100], ["a cat", "word " * 100]])
def test_texts_longer_than_num_ctx(daemon: DaemonProcess, texts: list[str]) -> None:
    """Are cut to it, or refused where they must not be."""
    daemon.import_model(_DEMO / "demo-embed.gguf", "demo-embed")
    body = {"model": "demo-embed", "input": texts, "options": {"num_ctx": 32}}
    found = posted(daemon, "/api/embed", body).json()
    assert len(found["embeddings"]) == len(texts)
    assert 16 < found["prompt_eval_count"] <= 32 + 8 * (len(texts) - 1)
    short = posted(daemon, "/api/embed", {**body, "input": ["a cat"], "truncate": False}).json()
    assert len(short["embeddings"]) == 1
    refused = daemon.http.post("/api/embed", json=body | {"truncate": False})
    assert refused.status_code == 400
    assert "num_ctx (32)" in refused.json()["error"]


def test_text_of_responses(daemon: DaemonProcess) -> None:
    """Docker Model Runner tells it by itself, and its tests look for it."""
    for path in ("/responses", "/engines/v1/responses"):
        told = posted(daemon, path, {"model": "demo-a", "input": "What is your name?"}).json()
        assert told["output_text"] == "My name is Demo A."
