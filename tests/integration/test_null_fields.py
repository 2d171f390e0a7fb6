"""A field that is null was not said, in every API: some clients write all that they know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from runnerd.models import tiny
from tests.support.compatibility import FIELDS
from tests.support.daemon import DaemonProcess, running

pytestmark = pytest.mark.engine

_USER = [{"role": "user", "content": "x"}]
_CHAT: dict[str, Any] = {"model": "tiny", "messages": _USER, "max_tokens": 1}
REQUESTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": _CHAT,
    "/v1/completions": {"model": "tiny", "prompt": "x", "max_tokens": 1},
    "/v1/embeddings": {"model": "embedder", "input": "x"},
    "/v1/responses": {"model": "tiny", "input": "x", "max_output_tokens": 1},
    "/v1/messages": _CHAT,
    "/v1/messages/count_tokens": {"model": "tiny", "messages": _USER},
    "/v1/rerank": {"model": "ranker", "query": "x", "documents": ["a", "b"]},
    "/v1/tokenize": {"model": "tiny", "content": "x"},
    "/v1/detokenize": {"model": "tiny", "tokens": [1]},
    "/api/chat": {"model": "tiny", "messages": _USER, "options": {"num_predict": 1}},
    "/api/generate": {"model": "tiny", "prompt": "x", "options": {"num_predict": 1}},
    "/api/embed": {"model": "embedder", "input": "x"},
    "/api/embeddings": {"model": "embedder", "prompt": "x"},
    "/api/show": {"model": "tiny"},
}
"""One request of each route, with what it cannot do without (and a limit, to be quick)."""

_MORE = {
    "/v1/chat/completions": (
        "frequency_penalty presence_penalty logit_bias logprobs top_logprobs n response_format"
        " service_tier store metadata modalities audio prediction functions function_call"
        " reasoning_effort verbosity web_search_options safety_identifier prompt_cache_key"
        " max_completion_tokens stream_options parallel_tool_calls user seed stop tools"
        " tool_choice top_k min_p typical_p repeat_penalty repeat_last_n grammar json_schema"
        " chat_template_kwargs cache_prompt id_slot n_predict n_probs mirostat dry_multiplier"
        " xtc_probability samplers ignore_eos timings_per_token lora return_tokens"
        " reasoning_format parse_tool_calls add_generation_prompt continue_final_message"
    ),
    "/v1/completions": (
        "frequency_penalty presence_penalty logit_bias user max_tokens stream_options suffix echo"
        " logprobs best_of n grammar json_schema n_predict"
    ),
    "/v1/embeddings": "encoding_format dimensions user embd_normalize",
    "/v1/responses": (
        "background conversation include instructions max_tool_calls metadata parallel_tool_calls"
        " previous_response_id prompt prompt_cache_key reasoning safety_identifier service_tier"
        " store stream stream_options temperature text tool_choice tools top_logprobs top_p"
        " truncation user max_output_tokens"
    ),
    "/v1/messages": (
        "metadata service_tier stop_sequences stream system temperature thinking tool_choice tools"
        " top_k top_p container mcp_servers context_management output_config output_format"
    ),
    "/v1/messages/count_tokens": "system thinking tool_choice tools",
    "/v1/rerank": "top_n return_documents rank_fields max_tokens_per_doc user priority",
    "/v1/tokenize": "add_special with_pieces parse_special",
    "/api/chat": (
        "think tools format keep_alive options stream logprobs top_logprobs truncate shift"
    ),
    "/api/generate": (
        "think suffix images format system template context raw keep_alive options stream shift"
        " truncate logprobs top_logprobs"
    ),
    "/api/embed": "truncate dimensions keep_alive options",
    "/api/embeddings": "keep_alive options",
    "/api/show": "verbose system template options name",
}
_SAMPLING = "temperature top_p seed stop presence_penalty frequency_penalty logit_bias"


def fields(path: str) -> list[str]:
    """Every field of a route that a request can do without."""
    known = [
        name.partition(":")[0].partition(".")[0]
        for routes in FIELDS.values()
        for route, names in routes.items()
        if route == f"POST {path}"
        for name in names.split()
    ]
    needed = set(REQUESTS[path]) - {"max_tokens", "max_output_tokens", "options"}
    found = {*known, *_MORE.get(path, "").split()} - needed - _PARTS
    return sorted(found)


_PARTS = {"Modelfile", "image_url", "input_audio", "tool_calls", "reasoning_content", "input_image",
          "request-id", "tool_result", "image", "document", "search_result"}  # fmt: skip


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with a model of each kind."""
    folder = tmp_path_factory.mktemp("null")
    tiny.write_completion_model(folder / "tiny.gguf", name="tiny")
    tiny.write_embedding_model(folder / "embedder.gguf")
    tiny.write_reranking_model(folder / "ranker.gguf")
    with running(folder / "d") as daemon:
        for name in ("tiny", "embedder", "ranker"):
            daemon.import_model(folder / f"{name}.gguf", name)
        yield daemon


@pytest.mark.parametrize(
    ("path", "name"), [(path, name) for path in REQUESTS for name in fields(path)]
)
def test_null_is_not_said(daemon: DaemonProcess, path: str, name: str) -> None:
    """Each field by itself; a response as if it were absent."""
    response = daemon.http.post(path, json={**REQUESTS[path], name: None})
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("path", list(REQUESTS))
def test_everything_null_is_not_said(daemon: DaemonProcess, path: str) -> None:
    """All at once, with a limit that is said."""
    nulls = dict.fromkeys(fields(path)) | {"keep_alive": None}
    response = daemon.http.post(path, json={**nulls, **REQUESTS[path]})
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("name", (_SAMPLING + " num_ctx top_k num_predict use_mmap").split())
def test_null_option(daemon: DaemonProcess, name: str) -> None:
    """Ollama's options, too."""
    body = {**REQUESTS["/api/generate"], "options": {"num_predict": 1, name: None}, "stream": False}
    if name == "num_predict":
        body["options"] = {"num_predict": None, "stop": ["a", "e", "i", " "]}
    assert daemon.http.post("/api/generate", json=body).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": "x", "name": None, "tool_calls": None}]},
        {"messages": [*_USER, {"role": "assistant", "content": "y", "tool_calls": None,
                               "refusal": None, "audio": None, "function_call": None}, *_USER]},
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
def test_null_in_a_message(daemon: DaemonProcess, path: str, body: dict[str, Any]) -> None:
    """Members of messages, as OpenAI's own library sends them back."""
    response = daemon.http.post(path, json={**REQUESTS[path], **body, "stream": False})
    assert response.status_code == 200, response.text
