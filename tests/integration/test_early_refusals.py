"""A request that cannot succeed starts nothing: it is refused before a runner is leased."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.ggufs import write_coder

pytestmark = pytest.mark.engine

USER = {"role": "user", "content": "x"}
CHAT, TEXT = {"messages": [USER]}, {"prompt": "x"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}


def chats(*contents: object) -> list[dict[str, Any]]:
    return [{"messages": [{"role": "user", "content": content}]} for content in contents]


_NO_LISTS: list[Any] = [None, 5, "x", True, {}, [5], ["x"], [None], [[]], [{}]]
_TURNS: list[dict[str, Any]] = [
    {},
    *({"messages": wrong} for wrong in _NO_LISTS),
    {"messages": [{"role": "user"}]},
    {"messages": [{"content": "x"}]},
    {"messages": [{"role": 5, "content": "x"}]},
    {"messages": [USER, {"role": "system"}]},
    *chats(5, True, {}, [5], [{"type": "text"}], [{"type": "text", "text": 5}]),
]
_CALLS: list[Any] = [
    *(5, "x", [5], [{}], [{"type": "function"}], [{"type": "function", "function": {}}]),
    [{"type": "x", "function": {"name": "f", "arguments": "{}"}}],
    [{"type": "custom", "custom": {}}],
    [{"type": "function", "function": {"name": "f", "arguments": "{}"}, "id": None}],
]
_PARTS: list[dict[str, Any]] = [
    *({"type": kind} for kind in ("input_text", "file", "", "refusal", "image", "input_audio")),
    {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AA"}},
]
_NO_TURNS: list[dict[str, Any]] = [
    *chats(*([part] for part in _PARTS)),
    *({"messages": [USER, {"role": "assistant", "tool_calls": wrong}, USER]} for wrong in _CALLS),
    {"messages": [{"role": "tool", "content": "x", "tool_call_id": 5}]},
]
_NO_PART = [*chats([{}]), {"messages": [{"role": "assistant"}]}]
_PARAMETERS: list[dict[str, Any]] = [
    {"temperature": "warm"},
    {"top_p": []},
    {"seed": {}},
    {"max_tokens": -5},
    {"max_tokens": "many"},
    {"max_completion_tokens": 1e99},
    {"n": 0},
    {"stop": [5]},
    {"tools": "none"},
    {"tools": [5]},
    {"json_schema": "x"},
    {"echo": 5},
    {"stream": "yes"},
]
_MORE_PARAMETERS: list[dict[str, Any]] = [
    *({name: "x"} for name in ("typical_p", "mirostat", "dry_base", "n_probs", "min_keep")),
    *({name: -5} for name in ("n_keep", "n_indent", "repeat_last_n", "repeat_penalty", "n_cmpl")),
    *({name: 5} for name in ("cache_prompt", "ignore_eos", "return_tokens", "timings_per_token")),
    {"t_max_predict_ms": True},
    {"adaptive_decay": 1},
    {"reasoning_budget_tokens": -5},
    {"dry_sequence_breakers": []},
    {"samplers": [5]},
    {"lora": {}},
    {"reasoning_format": "x"},
    {"n": 2**33},
]
_TOOL = {"type": "function", "function": {"name": "f"}}
_NO_TOOLS: list[Any] = [{}, {"type": "x"}, {"type": "function"}, {"function": {}}]
_CHAT_FORMS: list[dict[str, Any]] = [
    *({"tools": [tool]} for tool in _NO_TOOLS),
    {"tools": [{"type": "function", "function": {"name": 5}}]},
    {"tools": [{"type": "function", "function": {"name": "f", "description": None}}]},
    {"tools": [_TOOL], "grammar": ""},
    {"json_schema": {}, "grammar": "root ::= [a]"},
    {"response_format": {"type": "x"}},
    {"chat_template_kwargs": {"enable_thinking": "x"}},
    {"continue_final_message": True},
]
_CHAT_PARAMETERS: list[dict[str, Any]] = [
    {"top_logprobs": 2},
    {"top_logprobs": 2, "logprobs": False},
    {"response_format": {"type": "prose"}},
]
_NO_PROMPTS: list[Any] = [[[]], [999999], [[1, -1]], [[999999]], [1, {}], [[1.5]]]
_NO_STRINGS: list[Any] = [5, None, {}, []]
_NO_CONTENTS: list[Any] = ["x", [5], [{"type": "x"}]]
_VECTORS: list[dict[str, Any]] = [
    *({"input": wrong} for wrong in _NO_PROMPTS),
    *({"input": {"prompt_string": wrong}} for wrong in _NO_STRINGS),
    *({"input": {"content": wrong}} for wrong in _NO_CONTENTS),
    {"input": {"prompt_string": "x", "multimodal_data": ["AA"]}},
    *({"input": "x", "encoding_format": wrong} for wrong in ("hex", 5)),
    {"input": "x", "embd_normalize": "x"},
    {"input": "x", "dimensions": 65},
]
_EMPTY: list[Any] = ["", [""], ["x", ""], {"prompt_string": ""}, {"content": []}]
_PROMPTS: list[Any] = [None, 5, True, {}, [], [None], [{}], [1.5], [-1], [True]]

_DOCUMENTS: list[Any] = [None, 5, "x", {}, [], [5], [None], ["x", 5], [{"text": 5}]]
_QUERIES: list[Any] = [None, 5, ["x"]]
_CONTENTS: list[Any] = [5, True, {}, [[]], [{}], ["x", None]]
_TOKENS: list[Any] = [5, "x", {}, ["x"]]
_INPUTS: list[dict[str, Any]] = [
    {},
    {"input": 5},
    {"input": []},
    {"input": [5]},
    {"input": [{}]},
    {"input": [{"role": "user"}]},
    {"input": [{"role": "nobody", "content": "x"}]},
    *(
        {"input": [{"role": "user", "content": [part]}]}
        for part in ({}, 5, {"type": "input_file"}, {"type": "input_text"}, {"type": "input_image"})
    ),
    {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}]},
    {"input": [{"role": "assistant", "content": [{"type": "output_text"}]}]},
    {"input": [{"type": "function_call"}]},
    {"input": [{"type": "function_call_output"}]},
    {"input": [{"type": "function_call_output", "call_id": "x", "output": [{}]}]},
    {"input": "x", "tools": [{"type": "function"}]},
    {"input": "x", "text": {"format": {"type": "x"}}},
    {"input": "x", "max_output_tokens": -5},
    {"input": "x", "temperature": "x"},
]
_EXTRAS: list[Any] = [5, [5], [{}], [{"text": 5}], [{"text": "x", "filename": 5}]]
_INFILLS: list[dict[str, Any]] = [
    {},
    {"input_prefix": "x"},
    {"input_prefix": 5, "input_suffix": "x"},
    {"input_prefix": "x", "input_suffix": 5},
    *({"input_prefix": "x", "input_suffix": "y", "input_extra": wrong} for wrong in _EXTRAS),
    *({"input_prefix": "x", "input_suffix": "y"} | wrong for wrong in _MORE_PARAMETERS),
]
_MESSAGE: list[dict[str, Any]] = [
    *({"max_tokens": wrong} for wrong in ("x", -5)),
    *({name: "x"} for name in ("temperature", "top_k", "top_p")),
    {"stop_sequences": [5]},
    {"chat_template_kwargs": {"enable_thinking": "x"}},
]
_SOURCE = {"type": "base64", "media_type": "image/png", "data": "AA"}
_SHOWN = [{"type": "image", "source": _SOURCE}]

BAD: list[tuple[str, str, dict[str, Any]]] = [
    *(("tiny", "/v1/chat/completions", body) for body in [*_TURNS, *_NO_PART, *_NO_TURNS]),
    *(("tiny", "/v1/chat/completions", CHAT | wrong) for wrong in _PARAMETERS),
    *(("tiny", "/v1/chat/completions", CHAT | wrong) for wrong in _MORE_PARAMETERS),
    *(("tiny", "/v1/chat/completions", CHAT | wrong) for wrong in _CHAT_PARAMETERS),
    *(("tiny", "/v1/chat/completions", CHAT | wrong) for wrong in _CHAT_FORMS),
    *(("tiny", "/v1/apply-template", CHAT | wrong) for wrong in _CHAT_FORMS),
    ("tiny", "/v1/chat/completions", chats([IMAGE])[0]),
    *(("tiny", "/v1/apply-template", body) for body in [*_TURNS, *_NO_PART]),
    *(("tiny", "/v1/messages", {"max_tokens": 1, **body}) for body in _TURNS),
    *(("tiny", "/v1/messages/count_tokens", body) for body in _TURNS),
    *(("tiny", "/v1/messages", {"max_tokens": 1, **CHAT, **wrong}) for wrong in _MESSAGE),
    *(
        ("tiny", f"/v1/messages{end}", {"max_tokens": 1, **chats(content)[0]})
        for end in ("", "/count_tokens")
        for content in (_SHOWN, [{"type": "tool_result", "tool_use_id": "x", "content": _SHOWN}])
    ),
    *(("tiny", "/v1/completions", {"prompt": wrong}) for wrong in _PROMPTS),
    *(("tiny", "/v1/completions", TEXT | wrong) for wrong in _MORE_PARAMETERS),
    *(("tiny", "/v1/completions", {"prompt": wrong}) for wrong in ([999999], [[1, -1]])),
    *(("tiny", "/v1/completions", TEXT | {name: 5}) for name in ("chat_parser", "grammar_lazy")),
    *(("coder", "/v1/infill", wrong) for wrong in _INFILLS),
    *(("tiny", "/v1/embeddings", {"input": wrong}) for wrong in _EMPTY),
    ("tiny", "/api/embed", {"input": ["x", ""]}),
    ("rerank", "/v1/rerank", {"query": "x", "documents": ["x"], "top_n": -1}),
    *(("tiny", "/v1/detokenize", {"tokens": wrong}) for wrong in ([-1], [999999], [None])),
    ("tiny", "/v1/completions", {}),
    *(("tiny", "/v1/completions", TEXT | wrong) for wrong in _PARAMETERS if "tools" not in wrong),
    *(("embed", "/v1/embeddings", {"input": wrong}) for wrong in _PROMPTS),
    ("embed", "/v1/embeddings", {}),
    *(("embed", "/v1/embeddings", wrong) for wrong in _VECTORS),
    *(("tiny", "/v1/responses", body) for body in _INPUTS),
    *(("rerank", "/v1/rerank", {"query": "x", "documents": wrong}) for wrong in _DOCUMENTS),
    *(("rerank", "/v1/rerank", {"documents": ["x"], "query": wrong}) for wrong in _QUERIES),
    ("rerank", "/v1/rerank", {"query": "x"}),
    ("rerank", "/v1/rerank", {"documents": ["x"]}),
    *(("tiny", "/v1/tokenize", {"content": wrong}) for wrong in _CONTENTS),
    *(("tiny", "/v1/detokenize", {"tokens": wrong}) for wrong in _TOKENS),
    ("tiny", "/api/chat", {"messages": 5}),
    ("tiny", "/api/chat", {"messages": [{}]}),
    ("tiny", "/api/chat", {"messages": [USER], "options": {"temperature": "warm"}}),
    ("tiny", "/api/generate", {"prompt": 5}),
    ("embed", "/api/embed", {"input": [5]}),
    ("embed", "/v1/chat/completions", CHAT),
    ("tiny", "/v1/rerank", {"query": "x", "documents": ["x"]}),
]

ODD: list[tuple[str, str, dict[str, Any]]] = [
    ("tiny", "/v1/chat/completions", {"messages": []}),
    ("tiny", "/v1/chat/completions", {"messages": [{"role": "nobody", "content": None}]}),
    ("tiny", "/v1/chat/completions", {"messages": [USER, {"role": "assistant", "content": []}]}),
    ("tiny", "/v1/completions", {"prompt": ["x", [1, 2], {"prompt_string": "x"}]}),
    ("tiny", "/v1/completions", {"prompt": "", "temperature": True, "n": 1.5, "stop": 5}),
    ("tiny", "/v1/messages", {"max_tokens": 1, "messages": [{"role": "assistant"}, USER]}),
    ("embed", "/v1/embeddings", {"content": "x"}),
    ("embed", "/v1/embeddings", {"input": [{"content": [{"type": "text", "text": "x"}]}, ""]}),
    ("embed", "/v1/embeddings", {"input": ["x", [1, "y"]], "dimensions": 64}),
    ("tiny", "/v1/completions", {"prompt": "x", "tools": 5, "top_k": -5, "seed": None}),
    ("rerank", "/v1/rerank", {"query": "x", "documents": [{"text": "x"}]}),
    ("tiny", "/v1/chat/completions", {"messages": [{**USER, "name": None, "audio": None}]}),
    ("embed", "/v1/embeddings", {"input": "x", "encoding_format": None}),
    ("tiny", "/v1/tokenize", {"content": None}),
    ("tiny", "/v1/detokenize", {"tokens": None}),
    ("rerank", "/v1/rerank", {"query": "x", "documents": None, "texts": ["x"], "top_n": 1.5}),
    ("tiny", "/v1/messages", {"max_tokens": 1, **chats([{"type": "new"}, {"type": "image"}])[0]}),
    ("tiny", "/v1/responses", {"input": "x", "max_output_tokens": 1, "tools": [5]}),
    ("tiny", "/v1/chat/completions", CHAT | {"tools": None, "generation_prompt": 5, "n": 1.5}),
    ("tiny", "/v1/tokenize", {"content": ["x", 1.5, True]}),
    ("rerank", "/v1/rerank", {"query": "", "texts": [""]}),
    ("tiny", "/v1/tokenize", {}),
    ("tiny", "/v1/detokenize", {"tokens": [1.5]}),
]


UNSEEN: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {}),
    ("/v1/completions", TEXT | {"temperature": "warm"}),
    ("/v1/embeddings", {"input": []}),
    ("/v1/responses", {"input": [{"role": "user", "content": [{"type": "x"}]}]}),
    ("/v1/messages", {"max_tokens": 1, "messages": [{"role": "user"}]}),
    ("/v1/messages/count_tokens", {"messages": 5}),
    ("/anthropic/v1/messages", {"max_tokens": -5, **CHAT}),
    ("/api/chat", {"messages": 5}),
    ("/api/chat", {"messages": [USER], "options": {"num_keep": -5}}),
    ("/api/generate", {"prompt": "x", "format": 5}),
    ("/api/embed", {"input": [5]}),
    ("/api/embeddings", {"prompt": 5}),
    ("/v1/rerank", {"query": "x", "documents": []}),
]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, gguf: Path) -> Iterator[DaemonProcess]:
    """A daemon that starts an engine only when one is needed."""
    with running(tmp_path_factory.mktemp("early")) as daemon:
        for name in ("tiny", "embed", "rerank"):
            daemon.import_model(gguf / f"{name}.gguf", name)
        coder = tmp_path_factory.mktemp("coder") / "coder.gguf"
        write_coder(coder)
        daemon.import_model(coder, "coder")
        yield daemon


def statuses(
    daemon: DaemonProcess, requests: list[tuple[str, str, dict[str, Any]]]
) -> list[tuple[int, str, dict[str, Any]]]:
    """Return what is answered, for the first tokens only."""
    return [
        (daemon.http.post(path, json={"model": model, **body}).status_code, path, body)
        for model, path, body in requests
    ]


def started_by(daemon: DaemonProcess, request: tuple[str, str, dict[str, Any]]) -> bool:
    """Say whether a request was answered or started an engine."""
    before = starts(daemon)
    return statuses(daemon, [request])[0][0] != 400 or starts(daemon) != before


def starts(daemon: DaemonProcess) -> int:
    return daemon.text().count(": starting /")


def test_what_no_engine_takes_starts_none(daemon: DaemonProcess) -> None:
    """Each is a 400 from a daemon without a runner, and so it is from the engine itself."""
    assert [request for request in BAD if started_by(daemon, request)] == []
    assert starts(daemon) == 0
    for model, path, body in (
        ("tiny", "/v1/completions", TEXT),
        ("embed", "/v1/embeddings", {"input": "x"}),
        ("rerank", "/v1/rerank", {"query": "x", "documents": ["x"]}),
        ("tiny", "/v1/embeddings", {"input": "x"}),
        ("coder", "/v1/infill", {"input_prefix": "x", "input_suffix": "y"}),
    ):
        assert statuses(daemon, [(model, path, {**body, "max_tokens": 1})])[0][0] == 200
    assert starts(daemon) == 5
    assert [each for each in statuses(daemon, BAD) if each[0] != 400] == []


def test_what_an_engine_takes_is_not_refused(daemon: DaemonProcess) -> None:
    """However odd it is; each of these has to wait for a load."""
    for model, path, body in ODD:
        daemon.http.post("/engines/unload", json={"all": True})
        before = starts(daemon)
        request = (model, path, {"max_tokens": 1, **body})
        assert statuses(daemon, [request]) == [(200, path, request[2])]
        assert starts(daemon) == before + 1


def test_refusals_name_the_member_in_each_api(daemon: DaemonProcess) -> None:
    """In the shape of the API that was asked."""
    daemon.http.post("/engines/unload", json={"all": True})
    error = daemon.http.post("/v1/chat/completions", json={"model": "tiny"}).json()["error"]
    assert (error["message"], error["param"]) == ("messages is required", "messages")
    body = {"model": "tiny", "max_tokens": 1, "messages": [{"role": "user"}]}
    told = daemon.http.post("/v1/messages", json=body).json()
    assert told["error"]["message"] == "a message of 'user' must have content"
    assert told["type"] == "error"


def test_an_unanswerable_request_pulls_nothing(tmp_path: Path) -> None:
    """Where missing models are pulled, this is judged before, too."""
    with running(tmp_path, env={"RUNNERD_AUTO_PULL": "1"}) as daemon:
        for path, body in UNSEEN:
            model = {"model": "127.0.0.1:9/a/b"}
            response = daemon.http.post(path, json=model | body)
            assert (path, response.status_code) == (path, 400), body
        assert "pull" not in daemon.text()
        whole = daemon.http.post("/api/chat", json=model | {"messages": [USER]})
        assert whole.status_code != 400
        assert "pull" in daemon.text()


def test_a_form_for_a_missing_model_is_told_so(daemon: DaemonProcess) -> None:
    """A body that is no JSON is not read as such."""
    form = {"files": {"file": ("x.wav", b"RIFF")}, "data": {"model": "absent"}}
    response = daemon.http.post("/v1/audio/transcriptions", **form)  # type: ignore[arg-type]
    assert response.status_code == 404
