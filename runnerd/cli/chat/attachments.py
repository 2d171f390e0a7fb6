"""Files that a prompt names: `@notes.txt` becomes text, `./photo.png` and `./talk.wav` are sent.

Only what a person typed is looked through.  What comes through a pipe is data: a text that somebody
else wrote must not have files read.
"""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from runnerd.errors import ClientError, NotFound
from runnerd.regular import read
from runnerd.units import binary_size

_MOST_BYTES = 48 * 2**20  # a request may have 64 MiB, and Base64 makes a third more of it

_KINDS_OF_MEDIA = r"\.(?i:png|jpe?g|webp|gif|bmp|wav|mp3|flac)"
_MEDIA = re.compile(rf"{_KINDS_OF_MEDIA}$")
_WORD = re.compile(
    r"(?:^|(?<=[\s(\"']))(?:"
    r"@(?P<quote>[\"'])(?P<quoted>.+?)(?P=quote)"
    rf"|(?P<mark>[\"'])(?P<media>[^\"'\n]+?{_KINDS_OF_MEDIA})(?P=mark)"
    r"|(?P<at>@)?(?!\()(?P<plain>(?:\\.|[^\s\\\"'])+))",
)
_BEHIND = ".,;:!?)"  # what a sentence may have behind a name


@dataclass
class Prompt:
    """What is asked: a text, and what is sent beside it as parts of OpenAI's API."""

    text: str
    parts: list[dict[str, object]] = field(default_factory=list)

    def content(self) -> object:
        """The `content` of a message."""
        if not self.parts:
            return self.text
        return [*([{"type": "text", "text": self.text}] if self.text else []), *self.parts]


def prompt_of(typed: str) -> Prompt:
    """A prompt of what somebody typed, with the files that it names.

    Raises errors.NotFound, ClientError for a file that is named with @ and cannot be read.
    """
    prompt = Prompt("")
    prompt.text = _WORD.sub(lambda word: _replaced(word, prompt), typed).strip()
    return prompt


def prompt_of_data(data: bytes) -> Prompt:
    """A prompt of what came through a pipe: text, an image or a sound.  Raises errors.ClientError.

    An image without words is described by whoever is asked; names of files in it mean nothing.
    """
    if (part := _part(data)) is not None:
        return Prompt("", [part])
    try:
        return Prompt(data.decode("utf-8-sig").strip())
    except UnicodeDecodeError as error:
        raise ClientError(
            "standard input is neither UTF-8 text nor an image or sound that is known here"
        ) from error


def joined(piped: Prompt, typed: Prompt) -> Prompt:
    """One prompt of both: what was piped, then what is asked about it."""
    texts = [text for text in (piped.text, typed.text) if text]
    return Prompt("\n\n".join(texts), [*piped.parts, *typed.parts])


def _replaced(word: re.Match[str], prompt: Prompt) -> str:
    """What stands in the text for a word: itself, unless it names a file."""
    if word[0].startswith("\\@"):
        return word[0][1:]
    if word["plain"] is None:
        name, behind = word["quoted"] or word["media"], ""
    else:
        name, behind = _name_in(word["plain"])
    if word["quoted"] is None and not word["at"]:
        if not _is_media_here(name):
            return word[0]
        prompt.parts.append(_media(Path(name).expanduser()))
        return behind
    return _named(word[0], name, behind, prompt)


def _name_in(plain: str) -> tuple[str, str]:
    """A word as the name of a file, and what a sentence has put behind it."""
    word = re.sub(r"\\(.)", r"\1", plain)
    name = word if _is_here(word) else word.rstrip(_BEHIND)
    return name, word[len(name) :]


def _named(word: str, name: str, behind: str, prompt: Prompt) -> str:
    """What stands in the text for a file that was named with @."""
    if not _is_here(name):
        if "/" in name or "." in name.strip("."):
            raise NotFound(f"there is no file {name}; write \\@{name} if it is not meant as one")
        return word  # a person's name
    path = Path(name).expanduser()
    content = _content(path)
    _tell(path, content)
    if (part := _part(content)) is not None:
        prompt.parts.append(part)
        return behind
    return f"{_fenced(path, content)}{behind}"


def _is_here(name: str) -> bool:
    try:
        return Path(name).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):  # too long for a name, a user who is not there
        return False


def _is_media_here(name: str) -> bool:
    """Whether a word without @ is the path of an image or a sound that is here."""
    return bool(_MEDIA.search(name)) and ("/" in name) and _is_here(name)


def _media(path: Path) -> dict[str, object]:
    content = _content(path)
    if (part := _part(content)) is None:
        raise ClientError(f"{path} is no image or sound that is known here")
    _tell(path, content)
    return part


def _content(path: Path) -> bytes:
    try:
        return read(path, most=_MOST_BYTES, follow=True)
    except OSError as error:
        raise ClientError(f"{path} cannot be read: {error.strerror or error}") from error


def _tell(path: Path, content: bytes) -> None:
    """Say what is sent: nobody is to wonder which files have left the disk."""
    print(f"sending {path} ({binary_size(len(content))})", file=sys.stderr)


def _fenced(path: Path, content: bytes) -> str:
    """A file's text between fences that do not occur in it."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ClientError(f"{path} is neither UTF-8 text nor an image or sound") from error
    fence = "```"
    while fence in text:
        fence += "`"
    end = "" if text.endswith("\n") or not text else "\n"
    return f"{path.name}:\n{fence}\n{text}{end}{fence}\n"


def _part(content: bytes) -> dict[str, object] | None:
    """The part of a message for an image or a sound, by its first bytes; None for anything else."""
    kind = next((kind for kind, fits in _kinds(content) if fits), None)
    if kind is None:
        return None
    encoded = base64.b64encode(content).decode()
    family, _, name = kind.partition("/")
    if family == "audio":
        return {"type": "input_audio", "input_audio": {"data": encoded, "format": name}}
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{encoded}"}}


def _kinds(content: bytes) -> Iterator[tuple[str, bool]]:
    riff = content[8:12] if content.startswith(b"RIFF") else b""
    yield "image/png", content.startswith(b"\x89PNG\r\n\x1a\n")
    yield "image/jpeg", content.startswith(b"\xff\xd8\xff")
    yield "image/gif", content.startswith((b"GIF87a", b"GIF89a"))
    yield "image/webp", riff == b"WEBP"
    yield "image/bmp", content.startswith(b"BM") and content[6:10] == bytes(4)
    yield "audio/wav", riff == b"WAVE"
    yield "audio/flac", content.startswith(b"fLaC")
    yield "audio/mp3", content.startswith(b"ID3") or content[:2] in (b"\xff\xfb", b"\xff\xf3")
