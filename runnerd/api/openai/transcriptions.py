"""POST /v1/audio/transcriptions as a dialect: a form with a sound becomes a chat about it.

The engine needs a model with an audio encoder; the planner says so where there is none.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from multipart import MultipartError, MultipartSegment, PushMultipartParser

from runnerd.access import Principal
from runnerd.errors import ClientError
from runnerd.models.model import Model
from runnerd.relay.body import Body
from runnerd.relay.dialect import TranslatedRequest
from runnerd.relay.events import DONE, EVENT_STREAM, Events, written
from runnerd.relay.operations import OPERATIONS
from runnerd.relay.routes import V1_PREFIXES, Route

_LONGEST_BOUNDARY = 202  # bytes, with its two dashes
_MOST_FIELDS = 64
_TASK = "Transcribe audio to text"
_FORMATS = ("json", "text")
_NUMBERS = (("temperature", float, "a number"), ("max_tokens", int, "a whole number"))
_COUNTS = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "total_tokens": "total_tokens",
}
_KINDS = {b"RIFF": "wav", b"fLaC": "flac", b"OggS": "ogg", b"ID3": "mp3", b"\xff": "mp3"}


@dataclass(frozen=True, slots=True)
class TranscriptionRequest:
    """A form that was read."""

    fields: Mapping[str, str]
    sound: bytes | None

    @property
    def reference(self) -> str:
        """The model's name."""
        return self.fields["model"]

    def translated(self, model: Model) -> TranslatedRequest:
        """The request as a chat about the sound.  Raises errors.ClientError."""
        fields, sound = self.fields, self.sound
        if sound is None:
            raise ClientError("the form has no file", param="file")
        format = fields.get("response_format", "json")
        if format not in _FORMATS:
            raise ClientError(
                f"response_format must be one of: {', '.join(_FORMATS)}", param="response_format"
            )
        task = fields.get("prompt") or _TASK
        if language := fields.get("language"):
            task += f" (language: {language})"
        audio = {"data": base64.b64encode(sound).decode(), "format": _kind(sound)}
        parts = [{"type": "text", "text": task}, {"type": "input_audio", "input_audio": audio}]
        document: dict[str, Any] = {
            "model": self.reference,
            "messages": [{"role": "user", "content": parts}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        for name, read, kind in _NUMBERS:
            if name in fields:
                document[name] = _number(name, fields[name], read, kind)
        streams = fields.get("stream", "").lower() == "true"
        return TranslatedRequest(
            OPERATIONS["audio/transcriptions"],
            msgspec.json.encode(document),
            _Transcript(format, streams),
            defaults={"temperature": 0},
        )


@dataclass(frozen=True, slots=True)
class TranscriptionDialect:
    """`POST audio/transcriptions`."""

    origin: str | None = None

    def read(self, body: Body, principal: Principal) -> TranscriptionRequest:
        """Decode a form.  Raises errors.ClientError."""
        fields, sound = read_form(bytes(body))
        if not fields.get("model"):
            raise ClientError("model is required", param="model")
        return TranscriptionRequest(fields, sound)


def routes() -> dict[str, Route]:
    """Return the routes by their paths."""
    route = Route(
        OPERATIONS["audio/transcriptions"],
        dialect=TranscriptionDialect(),
        media_type=b"multipart/form-data",
    )
    return {f"{prefix}/audio/transcriptions": route for prefix in V1_PREFIXES}


def read_form(body: bytes) -> tuple[Mapping[str, str], bytes | None]:
    """Return a form's text fields and its file; the first line of the body names the boundary.

    Raises errors.ClientError.
    """
    boundary = body[:_LONGEST_BOUNDARY].split(b"\r\n")[0][2:]
    if not body.startswith(b"--") or not 0 < len(boundary) <= _LONGEST_BOUNDARY - 2:
        raise ClientError("the request body must be a form (multipart/form-data)")
    contents: dict[str, bytearray] = {}
    try:
        with PushMultipartParser(boundary, max_segment_count=_MOST_FIELDS) as parser:
            content = bytearray()
            for part in parser.parse(body):
                if isinstance(part, MultipartSegment):
                    content = contents[part.name] = bytearray()
                elif part is not None:
                    content += part
    except (MultipartError, UnicodeDecodeError) as error:
        raise ClientError(f"the form cannot be read: {error}") from error
    sound = contents.pop("file", None)
    fields = {name: bytes(content).decode(errors="replace") for name, content in contents.items()}
    return fields, None if sound is None else bytes(sound)


class _Transcript:
    """The text of the engine's chat, as a transcript."""

    def __init__(self, format: str, streams: bool) -> None:
        self.streams = streams
        self._plain = format == "text"
        self.content_type = b"application/json"
        if streams:
            self.content_type = EVENT_STREAM
        elif self._plain:
            self.content_type = b"text/plain; charset=utf-8"
        self._events = Events()
        self._text: list[str] = []
        self._usage: dict[str, Any] = {}

    def feed(self, data: bytes) -> bytes:
        out = b""
        for event in self._events.feed(data):
            self._usage = event.get("usage") or self._usage
            for choice in event.get("choices", []):
                if text := choice.get("delta", {}).get("content"):
                    self._text.append(text)
                    out += written({"type": "transcript.text.delta", "delta": text})
        return out if self.streams else b""

    def end(self) -> bytes:
        """Return the transcript, or a stream's last event."""
        text = "".join(self._text).strip()
        if self._plain and not self.streams:
            return text.encode()
        told: dict[str, Any] = {"text": text} | self._told_usage()
        if self.streams:
            return written({"type": "transcript.text.done", **told}) + DONE
        return msgspec.json.encode(told)

    def _told_usage(self) -> dict[str, Any]:
        """Return the engine's counts, if it has told them, by their names in transcriptions."""
        if not self._usage:
            return {}
        counts = {name: self._usage.get(other, 0) for name, other in _COUNTS.items()}
        return {"usage": {"type": "tokens", **counts}}


def _kind(sound: bytes) -> str:
    return next((kind for magic, kind in _KINDS.items() if sound.startswith(magic)), "wav")


def _number(name: str, text: str, read: Callable[[str], float], kind: str) -> float:
    try:
        return read(text)
    except ValueError:
        raise ClientError(f"{name} must be {kind}", param=name) from None
