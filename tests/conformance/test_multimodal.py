"""Images and sounds in each API, to a model that sees and hears: the engine's encoders really run.

Weights are random, so what is said of an image means nothing; but the same image is always told the
same, another one otherwise, and each takes the tokens that the projector makes of it.
"""

from __future__ import annotations

import base64
import io
import random
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx
import ollama
import openai
import pytest
from PIL import Image

from tests.support.clients import anthropic_client, ollama_client, openai_client
from tests.support.daemon import DaemonProcess, running
from tests.support.media import png, wav
from tests.support.plain_http import NO_TLS
from tests.support.projectors import IMAGE_TOKENS, SOUND_TOKENS, create_seer

pytestmark = pytest.mark.engine

_TRANSCRIPTIONS = "/v1/audio/transcriptions"
_OPTIONS = {"num_predict": 8, "temperature": 0}
_ASKED: dict[str, Any] = {"model": "seer", "max_tokens": 8, "temperature": 0}


def webp(*colours: int, size: int = 8, **options: Any) -> bytes:
    """Return a picture of one colour, which may be transparent."""
    written = io.BytesIO()
    picture = Image.new("RGBA" if len(colours) == 4 else "RGB", (size, size), colours)
    picture.save(written, "WEBP", **options)
    return written.getvalue()


def noise(loudness: int) -> bytes:
    """Return some seconds of noise, 0 to 127 loud."""
    drawn = random.Random(loudness)
    levels = (drawn.randint(128 - loudness, 128 + loudness) for _ in range(20 * 8000))
    return wav(bytes(levels), rate=8000, width=1)


RED, BLUE = png(8, 8, bytes((255, 0, 0)) * 8), png(8, 8, bytes((0, 0, 255)) * 8)
SILENCE, NOISE = noise(0), noise(127)


def text(data: bytes) -> str:
    """Return data as APIs in JSON take it."""
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with a model that was created of two files in any order, and one without senses."""
    root = tmp_path_factory.mktemp("senses")
    with running(root / "daemon") as daemon:
        create_seer(daemon, root)
        daemon.import_model(root / "tiny.gguf", "tiny")
        yield daemon


@pytest.fixture
def client(daemon: DaemonProcess) -> Iterator[ollama.Client]:
    """Ollama's client."""
    with ollama_client(daemon) as client:
        yield client


@pytest.fixture
def sdk(daemon: DaemonProcess) -> Iterator[openai.OpenAI]:
    """OpenAI's client."""
    with openai_client(daemon) as client:
        yield client


@pytest.fixture
def claude(daemon: DaemonProcess) -> Iterator[anthropic.Anthropic]:
    """Anthropic's client."""
    with anthropic_client(daemon) as client:
        yield client


def tells_apart(ask: Callable[[bytes | None], tuple[str, int]], *things: bytes, each: int) -> None:
    """Ask about each thing twice and about none: the answers and the tokens are as they must be."""
    _, without = ask(None)
    said = []
    for thing in things:
        answer, tokens = ask(thing)
        assert tokens >= without + each
        assert ask(thing) == (answer, tokens)
        said.append(answer)
    assert len(set(said)) == len(things)


# images


@pytest.mark.covers("POST /api/chat", "images")
@pytest.mark.covers("POST /api/generate", "images")
def test_ollama_images(client: ollama.Client) -> None:
    """In generate and chat, streamed and not, one and several."""
    assert {"vision", "audio"} <= set(client.show("seer").capabilities or [])

    def generate(picture: bytes | None) -> tuple[str, int]:
        pictures = [picture] if picture else []
        answer = client.generate("seer", "Look", images=pictures, options=_OPTIONS)
        return answer.response or "", answer.prompt_eval_count or 0

    tells_apart(generate, RED, BLUE, each=IMAGE_TOKENS)
    asked = [{"role": "user", "content": "Look", "images": [RED]}]
    chat = client.chat("seer", asked, options=_OPTIONS)
    assert chat.message.content == generate(RED)[0]
    streamed = client.chat("seer", asked, options=_OPTIONS, stream=True)
    assert "".join(part.message.content or "" for part in streamed) == chat.message.content
    both = client.generate("seer", "Look", images=[RED, BLUE], options=_OPTIONS)
    assert (both.prompt_eval_count or 0) >= generate(None)[1] + 2 * IMAGE_TOKENS


def test_one_image_after_two(client: ollama.Client) -> None:
    """Asked as usual, llama-server fails: it cannot keep the first one of two that it has seen."""
    apart: list[Any] = [
        client.generate("seer", "Compare", images=pictures, options=_OPTIONS)
        for pictures in ([RED, BLUE], [RED], [RED, BLUE])
    ]
    assert apart[0].response == apart[2].response
    assert apart[1].prompt_eval_count == apart[0].prompt_eval_count - IMAGE_TOKENS


@pytest.mark.covers("POST /api/chat", "images", note="WebP too")
@pytest.mark.parametrize("lossless", [False, True])
def test_transcode(
    client: ollama.Client,
    sdk: openai.OpenAI,
    claude: anthropic.Anthropic,
    lossless: bool,
) -> None:
    """llama-server cannot read it; in each API the model sees it all the same."""
    red, blue = webp(255, 0, 0, lossless=lossless), webp(0, 0, 255, lossless=lossless)

    def chat(picture: bytes | None) -> tuple[str, int]:
        asked = [{"role": "user", "content": "Look", "images": [picture] if picture else []}]
        answer = client.chat("seer", asked, options=_OPTIONS)
        return answer.message.content or "", answer.prompt_eval_count or 0

    tells_apart(chat, red, blue, each=IMAGE_TOKENS)
    asked = [{"role": "user", "content": "Look", "images": [red, RED, blue]}]
    parts = list(client.chat("seer", asked, options=_OPTIONS, stream=True))
    assert (parts[-1].prompt_eval_count or 0) >= chat(None)[1] + 3 * IMAGE_TOKENS
    url = f"data:image/webp;base64,{text(red)}"
    shown: Any = [{"type": "image_url", "image_url": {"url": url}}]
    told = sdk.chat.completions.create(messages=[{"role": "user", "content": shown}], **_ASKED)
    assert told.usage is not None
    assert told.usage.prompt_tokens > IMAGE_TOKENS
    source: Any = {"type": "base64", "media_type": "image/webp", "data": text(red)}
    block: Any = {"role": "user", "content": [{"type": "image", "source": source}]}
    message = claude.messages.create(model="seer", max_tokens=8, messages=[block])
    assert message.usage.output_tokens == 8


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (webp(1, 2, 3)[:-9], "damaged"),
        (b"RIFF\x04\0\0\0WEBPxxxxxxxxxxxx", "damaged"),
        (webp(1, 2, 3, size=6000, lossless=True), "million pixels"),
    ],
)
def test_what_is_no_webp(daemon: DaemonProcess, picture: bytes, message: str) -> None:
    """It is refused with the reason, by who decodes it elsewhere, and leaves nothing behind."""
    asked = {"model": "seer", "stream": False, "options": _OPTIONS}
    messages = [{"role": "user", "content": "Look", "images": [text(picture)]}]
    answer = daemon.http.post("/api/chat", json={**asked, "messages": messages})
    assert answer.status_code == 400, answer.text
    assert message in answer.json()["error"]


def test_webp_as_text_stays(daemon: DaemonProcess) -> None:
    """It is an image only where images stand."""
    said = text(webp(1, 2, 3, lossless=True))
    asked = {"model": "seer", "content": said}
    tokens = daemon.http.post("/v1/tokenize", json=asked).json()["tokens"]
    back = daemon.http.post("/v1/detokenize", json={"model": "seer", "tokens": tokens}).json()
    assert back["content"] == said


@pytest.mark.parametrize(
    "image", ["no base64!", base64.b64encode(b"no picture").decode(), "", 3, None]
)
def test_what_is_no_image_is_refused(daemon: DaemonProcess, image: object) -> None:
    """With a 4xx, and the model goes on."""
    asked = {"model": "seer", "prompt": "Look", "stream": False, "options": _OPTIONS}
    url = f"{daemon.address}/api/generate"
    answer = httpx.post(url, json={**asked, "images": [image]}, verify=NO_TLS)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]
    assert httpx.post(url, json={**asked, "images": []}, verify=NO_TLS).status_code == 200


@pytest.mark.covers("POST /v1/chat/completions", "image_url:data")
def test_openai_images(sdk: openai.OpenAI) -> None:
    """As a part of a message, streamed and not."""

    def messages(picture: bytes | None) -> Any:
        parts: list[Any] = [{"type": "text", "text": "Look"}]
        if picture:
            address = f"data:image/png;base64,{text(picture)}"
            parts.append({"type": "image_url", "image_url": {"url": address}})
        return [{"role": "user", "content": parts}]

    def chat(picture: bytes | None) -> tuple[str, int]:
        answer = sdk.chat.completions.create(messages=messages(picture), **_ASKED)
        assert answer.usage is not None
        return answer.choices[0].message.content or "", answer.usage.prompt_tokens

    tells_apart(chat, RED, BLUE, each=IMAGE_TOKENS)
    pieces = sdk.chat.completions.create(messages=messages(RED), stream=True, **_ASKED)
    streamed = [piece.choices[0].delta.content or "" for piece in pieces if piece.choices]
    assert "".join(streamed) == chat(RED)[0]


@pytest.mark.covers("POST /v1/responses", "input_image:data")
def test_images_in_responses(sdk: openai.OpenAI) -> None:
    """As a part of an item, and still known to what goes on from there."""

    def respond(picture: bytes | None, **more: Any) -> tuple[str, int]:
        parts: list[Any] = [{"type": "input_text", "text": "Look"}]
        if picture:
            address = f"data:image/png;base64,{text(picture)}"
            parts.append({"type": "input_image", "image_url": address, "detail": "auto"})
        asked: Any = [{"type": "message", "role": "user", "content": parts}]
        answer = sdk.responses.create(
            model="seer", input=asked, max_output_tokens=8, temperature=0, **more
        )
        assert answer.usage is not None
        seen.append(answer.id)
        return answer.output_text, answer.usage.input_tokens

    seen: list[str] = []
    tells_apart(respond, RED, BLUE, each=IMAGE_TOKENS)
    _, tokens = respond(None, previous_response_id=seen[-1])
    assert tokens > 2 * IMAGE_TOKENS


@pytest.mark.covers("POST /v1/messages", "image:base64")
@pytest.mark.covers("POST /v1/messages/count_tokens", "image:base64")
def test_anthropic_images(claude: anthropic.Anthropic) -> None:
    """As a block of a message, and of a tool's result; they are counted too."""

    def messages(picture: bytes | None) -> Any:
        blocks: list[Any] = [{"type": "text", "text": "Look"}]
        if picture:
            source = {"type": "base64", "media_type": "image/png", "data": text(picture)}
            blocks.append({"type": "image", "source": source})
        return [{"role": "user", "content": blocks}]

    def ask(picture: bytes | None) -> tuple[str, int]:
        answer = claude.messages.create(
            model="seer", max_tokens=8, messages=messages(picture), extra_body={"temperature": 0}
        )
        usage, block = answer.usage, answer.content[0]
        assert block.type == "text"
        return block.text, usage.input_tokens + (usage.cache_read_input_tokens or 0)

    tells_apart(ask, RED, BLUE, each=IMAGE_TOKENS)
    counted = claude.messages.count_tokens(model="seer", messages=messages(RED))
    assert counted.input_tokens == ask(RED)[1]


# sounds


@pytest.mark.covers("POST /v1/chat/completions", "input_audio")
def test_openai_sounds(sdk: openai.OpenAI) -> None:
    """As a part of a message."""

    def chat(sound: bytes | None) -> tuple[str, int]:
        parts: list[Any] = [{"type": "text", "text": "Listen"}]
        if sound:
            audio = {"data": text(sound), "format": "wav"}
            parts.append({"type": "input_audio", "input_audio": audio})
        asked: Any = [{"role": "user", "content": parts}]
        answer = sdk.chat.completions.create(messages=asked, **_ASKED)
        assert answer.usage is not None
        return answer.choices[0].message.content or "", answer.usage.prompt_tokens

    tells_apart(chat, SILENCE, NOISE, each=SOUND_TOKENS)


def test_ollama_sounds(client: ollama.Client) -> None:
    """They come as Ollama's clients send them: among the images."""

    def chat(sound: bytes | None) -> tuple[str, int]:
        asked = [{"role": "user", "content": "Listen", "images": [sound] if sound else []}]
        answer = client.chat("seer", asked, options=_OPTIONS)
        return answer.message.content or "", answer.prompt_eval_count or 0

    tells_apart(chat, SILENCE, NOISE, each=SOUND_TOKENS)


@pytest.mark.covers(
    "POST /v1/audio/transcriptions",
    "model",
    "file",
    note="501 with what to pull where the model has no audio encoder",
)
@pytest.mark.covers("POST /v1/audio/transcriptions", "prompt", "language", "temperature", "stream")
@pytest.mark.covers("POST /v1/audio/transcriptions", "max_tokens", note="as llama-server has it")
@pytest.mark.covers("POST /v1/audio/transcriptions", "response_format:json", "response_format:text")
@pytest.mark.covers(
    "POST /v1/audio/transcriptions",
    "timestamp_granularities",
    "include",
    "chunking_strategy",
    how="ignored",
    note="engines tell words, not when they were said",
)
def test_transcriptions(sdk: openai.OpenAI) -> None:
    """Whole, streamed and as text, the same words; what is asked of it counts."""
    create = sdk.audio.transcriptions.create

    def written(sound: bytes, **more: Any) -> tuple[str, int]:
        asked: dict[str, Any] = {"extra_body": {"max_tokens": 8}, **more}
        answer = create(model="seer", file=("a.wav", sound), **asked)
        assert answer.usage is not None
        assert answer.usage.output_tokens == 8
        return answer.text, answer.usage.input_tokens

    heard = {written(SILENCE), written(NOISE), written(NOISE, language="en")}
    assert len(heard | {written(NOISE, prompt="Write down")}) == 4
    assert all(tokens > SOUND_TOKENS for _, tokens in heard)
    assert written(NOISE, temperature=0, timestamp_granularities=["word"]) in heard
    file: Any = ("a.wav", NOISE)
    events = list(create(model="seer", file=file, stream=True, extra_body={"max_tokens": 8}))
    last = events[-1]
    assert last.type == "transcript.text.done"
    pieces = [event.delta for event in events if event.type == "transcript.text.delta"]
    assert "".join(pieces).strip() == last.text
    assert last.usage is not None
    assert (last.text, last.usage.input_tokens) in heard
    plain: Any = create(
        model="seer", file=file, response_format="text", extra_body={"max_tokens": 8}
    )
    assert plain == last.text


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"response_format": "srt"}, "response_format"),
        ({"temperature": "warm"}, "temperature"),
        ({"max_tokens": "1.5"}, "max_tokens"),
    ],
)
def test_wrong_forms(daemon: DaemonProcess, fields: dict[str, str], message: str) -> None:
    """What cannot be had is refused by name."""
    form = {"model": "seer", **fields}
    sound = {"file": ("a.wav", SILENCE, "audio/wav")}
    answer = daemon.http.post(_TRANSCRIPTIONS, data=form, files=sound)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_what_is_no_form(daemon: DaemonProcess) -> None:
    """A body that is JSON, or only claims to be a form, and a file that is no sound."""
    assert daemon.http.post(_TRANSCRIPTIONS, json={"model": "seer"}).status_code == 415
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = daemon.http.post(_TRANSCRIPTIONS, content=b"nothing", headers=headers)
    assert answer.status_code == 400
    none = {"file": ("a.wav", b"RIFF....WAVE", "audio/wav")}
    answer = daemon.http.post(_TRANSCRIPTIONS, data={"model": "seer"}, files=none)
    assert answer.status_code == 400, answer.text


def test_owners_limit_transcriptions(daemon: DaemonProcess, sdk: openai.OpenAI) -> None:
    """What is said for every completion of a model counts for them too."""
    configured = {"model": "seer", "completion_defaults": {"max_tokens": 3}}
    assert daemon.http.post("/engines/_configure", json=configured).status_code == 202
    answer = sdk.audio.transcriptions.create(model="seer", file=("a.wav", SILENCE))
    assert answer.usage is not None
    assert answer.usage.type == "tokens"
    assert answer.usage.output_tokens == 3
    configured["completion_defaults"] = {}
    assert daemon.http.post("/engines/_configure", json=configured).status_code == 202
