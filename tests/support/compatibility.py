"""docs/compatibility.md, made from the marks of the tests.

A test says what it shows with `@pytest.mark.covers("POST /api/chat", "think", "images")`; `how` is
`supported` (the default), `ignored` or `refused`, and `note` is for the reader.  FIELDS names all
that a dialect has, so that what no test covers is in the table too.  Print the page with
`python -m tests.support.compatibility`; a unit test holds the file against it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "compatibility.md"

_MODELFILE = "Modelfile:SYSTEM Modelfile:PARAMETER Modelfile:MESSAGE"
_SAMPLING = "temperature top_p seed stop presence_penalty frequency_penalty logit_bias"

FIELDS: dict[str, dict[str, str]] = {
    "OpenAI": {
        "POST /v1/chat/completions": (
            f"model messages max_tokens max_completion_tokens n {_SAMPLING} logprobs top_logprobs"
            " response_format:json_object response_format:json_schema tools tool_choice"
            " tool_choice:function tool_calls parallel_tool_calls stream stream_options"
            f" reasoning_content image_url:data image_url:address input_audio user {_MODELFILE}"
        ),
        "POST /v1/completions": (
            "model prompt prompt:list prompt:tokens suffix max_tokens temperature top_p n stop seed"
            " logprobs echo best_of stream stream_options Modelfile:PARAMETER"
        ),
        "POST /v1/embeddings": (
            "model input input:list input:tokens encoding_format:base64 dimensions user"
        ),
        "POST /v1/responses": (
            "model input input:list instructions max_output_tokens temperature top_p text.format"
            " tools tool_choice stream store previous_response_id metadata reasoning"
            " input:item_reference input:reasoning input:function_call_output input:calls"
            " conversation prompt top_logprobs include truncation background"
            f" input_image:data {_MODELFILE}"
        ),
        "GET /v1/responses/{id}": "id",
        "DELETE /v1/responses/{id}": "id",
        "GET /v1/responses/{id}/input_items": "after limit order",
        "POST /v1/conversations": "items metadata",
        "GET /v1/conversations/{id}": "id",
        "POST /v1/conversations/{id}": "metadata",
        "DELETE /v1/conversations/{id}": "id",
        "POST /v1/conversations/{id}/items": "items include",
        "GET /v1/conversations/{id}/items": "after limit order include",
        "GET /v1/conversations/{id}/items/{item}": "id include",
        "DELETE /v1/conversations/{id}/items/{item}": "id",
        "GET /v1/models": "list",
        "GET /v1/models/{id}": "id",
        "POST /v1/rerank": (
            "model query documents documents:objects top_n return_documents rank_fields"
        ),
        "POST /v1/tokenize": "model content",
        "POST /v1/detokenize": "model tokens",
        "POST /v1/audio/transcriptions": (
            "model file language prompt response_format:json response_format:text temperature"
            " stream max_tokens timestamp_granularities include chunking_strategy"
        ),
        "POST /v1/files": "file purpose:batch purpose:other",
        "GET /v1/files": "list id content",
        "DELETE /v1/files/{id}": "id",
        "POST /v1/batches": "input_file_id endpoint completion_window metadata",
        "GET /v1/batches": "list id request_counts output_file_id error_file_id errors",
        "POST /v1/batches/{id}/cancel": "id",
        "OpenAI errors": "400 401 403 404 413 421 429 500 503 retries",
    },
    "Anthropic": {
        "POST /v1/messages": (
            "model messages max_tokens system system:blocks stop_sequences stream temperature top_k"
            " top_p tools tool_choice tool_result image:base64 image:url thinking metadata"
            " thinking:disabled output_config document:text document:content document:base64"
            f" document:url search_result request-id {_MODELFILE}"
        ),
        "POST /v1/messages/count_tokens": (
            "model messages image:base64 Modelfile:SYSTEM Modelfile:MESSAGE"
        ),
        "GET /v1/models": "list",
        "GET /v1/models/{id}": "id",
        "Anthropic errors": "400 401 403 404 413 429 request-id",
    },
    "Ollama": {
        "POST /api/generate": (
            "model prompt suffix system template context stream raw format keep_alive images"
            " options think truncate shift logprobs top_logprobs"
        ),
        "POST /api/chat": (
            "model messages tools stream format keep_alive options think truncate shift logprobs"
            " top_logprobs images tool_calls"
        ),
        "options": (
            "num_ctx num_predict num_keep seed top_k top_p min_p typical_p repeat_last_n"
            " temperature repeat_penalty presence_penalty frequency_penalty stop num_batch num_gpu"
            " main_gpu use_mmap num_thread unknown"
        ),
        "POST /api/embed": "model input input:list truncate dimensions keep_alive options",
        "POST /api/embeddings": "model prompt",
        "POST /api/create": (
            "model from files adapters template system license parameters messages quantize stream"
        ),
        "HEAD /api/blobs/{digest}": "digest",
        "POST /api/blobs/{digest}": "digest",
        "GET /api/tags": "list",
        "GET /api/ps": "list",
        "POST /api/show": "model verbose",
        "POST /api/pull": "model insecure stream",
        "POST /api/push": "model insecure stream",
        "POST /api/copy": "source destination",
        "DELETE /api/delete": "model",
        "GET /api/version": "version",
        "Ollama errors": "400 401 403 404 405 429 507",
    },
    "Docker Model Runner": {
        "/models and /engines, errors": "text json",
        "/engines/v1 and rerank, errors": "json",
        "POST /models/{name}/push": "format",
        "GET /models/{name}/export": "format",
        "POST /models/create": "draft",
    },
    "Pantry": {
        "POST /register_user": "user_name",
        "POST /request_permissions": "requested_permissions",
        "POST /request_download": "llm_registry_entry llm_registry_entry:string",
        "POST /request_load": "llm_id filter preference",
        "POST /request_load_flex": "llm_id filter preference",
        "POST /request_unload": "llm_id",
        "POST /get_request_status": "request_id",
        "POST /get_llm_status": "llm_id",
        "POST /get_available_llms": "list",
        "POST /get_running_llms": "list",
        "POST /load_llm": "llm_id",
        "POST /load_llm_flex": "filter preference",
        "POST /unload_llm": "llm_id",
        "POST /download_llm": "llm_registry_entry",
        "POST /get_or_download_llm": "llm_registry_entry",
        "POST /create_session": "user_session_parameters",
        "POST /create_session_id": "llm_id user_session_parameters",
        "POST /create_session_flex": "filter preference user_session_parameters",
        "POST /prompt_session_stream": "session_id llm_uuid prompt parameters",
        "POST /interrupt_session": "session_id llm_uuid",
        "POST /bare_model": "llm_id",
        "POST /bare_model_flex": "filter preference",
        "Pantry errors": "400 401 404 415 422 429 500 507",
    },
}

_INTRODUCTION = """\
# What clients may ask, and what they get

Made from the tests (`python -m tests.support.compatibility > docs/compatibility.md`): a field is
here as *supported*, *ignored* or *refused* because a test says so, most of them with the real,
unmodified client of that API. *Untested* means what it says; unknown fields of OpenAI's and
Anthropic's APIs pass to the engine.
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one mark of a test says of one field."""

    route: str
    field: str
    how: str
    note: str
    test: str


def _tree(path: Path) -> ast.Module:
    """The syntax tree of a test."""
    text = path.read_text()
    try:
        return ast.parse(text, str(path))
    except SystemError:  # CPython 3.11 loses count of its recursion now and then (gh-106905)
        return ast.parse(text, str(path))


def claims(folder: Path = ROOT / "tests") -> list[Claim]:
    """Return what the tests under `folder` claim.  Raises ValueError for what FIELDS lacks."""
    found: list[Claim] = []
    for path in sorted(folder.rglob("test_*.py")):
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for decorator in node.decorator_list:
                    found += _claims_of(decorator, f"{path.stem}::{node.name}")
    known = {
        (route, field)
        for routes in FIELDS.values()
        for route, names in routes.items()
        for field in names.split()
    }
    for claim in found:
        if (claim.route, claim.field) not in known:
            raise ValueError(
                f"{claim.test} covers {claim.field!r} of {claim.route!r}: no such field"
            )
    return found


def _claims_of(decorator: ast.expr, test: str) -> Iterator[Claim]:
    if not isinstance(decorator, ast.Call) or ast.unparse(decorator.func) != "pytest.mark.covers":
        return
    route, *fields = (ast.literal_eval(argument) for argument in decorator.args)
    named = {item.arg: ast.literal_eval(item.value) for item in decorator.keywords}
    how, note = named.pop("how", "supported"), named.pop("note", "")
    if named or how not in ("supported", "ignored", "refused"):
        raise ValueError(f"{test}: the mark is wrong: {ast.unparse(decorator)}")
    for field in fields:
        yield Claim(route, field, how, note, test)


def page() -> str:
    """Return the whole page."""
    by_field: dict[tuple[str, str], list[Claim]] = {}
    for claim in claims():
        by_field.setdefault((claim.route, claim.field), []).append(claim)
    lines = [_INTRODUCTION]
    for dialect, routes in FIELDS.items():
        lines += [f"## {dialect}", "| route | field | | |", "|---|---|---|---|"]
        for route, names in routes.items():
            for field in names.split():
                lines.append(_line(route, field, by_field.get((route, field), [])))
        lines.append("")
    return "\n".join(lines)


def _line(route: str, field: str, shown: list[Claim]) -> str:
    hows = list(dict.fromkeys(claim.how for claim in shown)) or ["untested"]
    notes = list(dict.fromkeys(claim.note for claim in shown if claim.note))
    kind, _, form = field.partition(":")
    name = f"`{kind}`" + (f" ({form})" if form else "")
    return f"| {route} | {name} | {', '.join(hows)} | {'; '.join(notes)} |"


if __name__ == "__main__":
    print(page(), end="")
