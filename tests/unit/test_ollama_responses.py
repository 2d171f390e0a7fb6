"""runnerd.api.ollama: requests in, answers out, cut anywhere and of any content."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.access import NOBODY
from runnerd.api.ollama.context_codec import recall, remember
from runnerd.api.ollama.dialects import routes
from runnerd.api.ollama.responses import TextResponse
from runnerd.backends.model_files import ModelFacts
from runnerd.errors import ClientError
from runnerd.models.description import Description
from runnerd.models.digest import Digest
from runnerd.models.manifest import GGUF_TYPE, Layer, build_manifest
from runnerd.models.model import Model
from runnerd.models.modelfile import Modelfile
from runnerd.relay.dialect import TranslatedRequest
from runnerd.relay.events import StreamError

COVERS = ("runnerd.api.ollama.dialects",)

TIMINGS = {"cache_n": 3, "prompt_n": 10, "prompt_ms": 2.0, "predicted_n": 4, "predicted_ms": 8.0}


def stream(texts: list[str], *, ascii: bool) -> bytes:
    """Write what the engine sends for these pieces."""
    events: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
        for text in texts
    ]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    events.append({"choices": [], "timings": TIMINGS})
    lines = [f"data: {json.dumps(event, ensure_ascii=ascii)}\n\n" for event in events]
    return "".join([*lines, "data: [DONE]\n\n"]).encode("utf-8", "surrogatepass")


def answered(data: bytes, cuts: list[int], *, streams: bool) -> list[dict[str, Any]]:
    """Feed a stream in pieces; return the lines that come out."""
    response = TextResponse("m", streams=streams, chat=True)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    out = b"".join(response.feed(data[start:end]) for start, end in itertools.pairwise(places))
    out += response.end()
    assert out.isascii()
    assert out.endswith(b"\n")
    return [json.loads(line) for line in out.split(b"\n")[:-1]]


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=8),
    cuts=st.lists(st.integers(0, 10_000), max_size=20),
    ascii=st.booleans(),
)
def test_streamed_and_whole_are_the_same(texts: list[str], cuts: list[int], ascii: bool) -> None:
    """However the engine's bytes are cut: same text, same counts, one end."""
    data = stream(texts, ascii=ascii)
    lines = answered(data, cuts, streams=True)
    [whole] = answered(data, cuts, streams=False)
    assert "".join(line["message"]["content"] for line in lines) == "".join(texts)
    assert whole["message"]["content"] == "".join(texts)
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    for last in (lines[-1], whole):
        assert (last["prompt_eval_count"], last["eval_count"]) == (13, 4)
        assert (last["prompt_eval_duration"], last["eval_duration"]) == (2_000_000, 8_000_000)
        assert last["done_reason"] == "stop"


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=8),
    cuts=st.lists(st.integers(0, 10_000), max_size=20),
    ascii=st.booleans(),
)
def test_the_engines_own_events_mean_the_same(
    texts: list[str], cuts: list[int], ascii: bool
) -> None:
    """What infill streams becomes the same lines, and the conversation is remembered whole."""
    events: list[dict[str, Any]] = [{"content": text, "stop": False} for text in texts]
    events.append({"content": "", "stop": True, "stop_type": "limit", "timings": TIMINGS})
    lines = [f"data: {json.dumps(event, ensure_ascii=ascii)}\n\n" for event in events]
    data = "".join(lines).encode()
    turns = [("user", "hé\u2028")]
    for streams in (True, False):
        response = TextResponse("m", streams=streams, chat=False, turns=list(turns))
        places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
        out = b"".join(response.feed(data[start:end]) for start, end in itertools.pairwise(places))
        *_, last = found = [json.loads(line) for line in (out + response.end()).splitlines()]
        assert "".join(line["response"] for line in found) == "".join(texts)
        assert (last["done_reason"], last["eval_count"]) == ("length", 4)
        assert recall(last["context"]) == [*turns, ("assistant", "".join(texts))]


@given(st.lists(st.one_of(st.integers(), st.text(), st.none(), st.just(0x52440001))))
def test_any_context_is_recalled_or_refused(numbers: list[Any]) -> None:
    """Numbers of others never do more than be refused."""
    try:
        turns = recall(numbers)
    except ClientError:
        return
    assert turns == recall(remember(turns)) if turns else numbers == []


@given(texts=st.lists(st.binary(max_size=6), max_size=6))
def test_what_is_no_text_ends_the_answer_with_an_error(texts: list[bytes]) -> None:
    """Bytes that are no UTF-8, or half an escape, never become a line."""
    response = TextResponse("m", streams=True, chat=True)
    for text in texts:
        piece = b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % text
        try:
            out = response.feed(piece)
        except StreamError:
            return
        assert out.isascii()
        assert all(json.loads(line) for line in out.splitlines())


def test_an_answer_that_breaks_off_is_no_answer() -> None:
    """Without the engine's last word nothing is done."""
    response = TextResponse("m", streams=False, chat=True)
    response.feed(stream(["half"], ascii=True).partition(b'"stop"')[0])
    with pytest.raises(StreamError):
        response.end()


class OneModel:
    """Has one model under every name, whose weights bring a temperature of their own."""

    def __init__(self, **modelfile: Any) -> None:
        description = Description(
            architecture="llama",
            parameters="1 M",
            quantization="F32",
            size="1 MiB",
            capabilities=("completion", "tools", "thinking", "vision"),
            facts=ModelFacts(context_length=2048),
            metadata={"general.sampling.temp": "0"},
            modelfile=Modelfile(**modelfile),
        )
        manifest = build_manifest(b"{}", [Layer(GGUF_TYPE, 1, Digest.of(b"w"))])
        self._model = Model(manifest.id, ("ai/m:latest",), 0, description, manifest)

    def get(self, text: str) -> Model:
        """Return the model."""
        return self._model

    def list(self) -> list[Model]:
        """Return the model."""
        return [self._model]


def wish(path: str, models: OneModel | None = None, **fields: Any) -> TranslatedRequest:
    models = models or OneModel()
    dialect = routes()[path].dialect
    assert dialect is not None
    read: Any = dialect.read(json.dumps({"model": "m", **fields}).encode(), NOBODY)
    translated: TranslatedRequest = read.translated(models.get(read.reference))
    return translated


@pytest.mark.parametrize(
    ("given_value", "seconds"),
    [(None, None), ("", None), (0, 0), ("0", 0), ("5m", 300), (1.5, 1.5), (-1, -1), ("-1m", -1)],
)
def test_keep_alive(given_value: object, seconds: float | None) -> None:
    """Numbers are seconds, texts are Go's durations, negative ones mean for ever."""
    assert wish("/api/chat", messages=[], keep_alive=given_value).keep_alive == seconds


def test_options_become_the_engines_parameters() -> None:
    """Known ones are renamed, unknown ones ignored, absent ones left to the engine."""
    options = {"num_predict": 5, "top_k": 3, "stop": "x", "numa": True, "seed": None}
    body = json.loads(wish("/api/generate", prompt="p", options=options, think=False).body)
    assert (body["max_tokens"], body["top_k"], body["stop"]) == (5, 3, ["x"])
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert not {"numa", "seed", "temperature"} & set(body)


@pytest.mark.parametrize(
    "fields",
    [
        {"keep_alive": "soon"},
        {"messages": [3]},
        {"messages": [{"role": "user", "content": 3}]},
        {"messages": [{"role": "user", "images": "x"}]},
        {"messages": [{"role": "assistant", "tool_calls": [{}]}]},
        {"options": {"temperature": "hot"}},
        {"options": []},
        {"format": "xml"},
        {"think": "hard"},
        {"stream": "yes"},
        {"tools": {}},
    ],
)
def test_wrong_requests_are_refused(fields: dict[str, Any]) -> None:
    """Each says which member is wrong."""
    with pytest.raises(ClientError) as caught:
        wish("/api/chat", **{"messages": [], **fields})
    assert caught.value.message
