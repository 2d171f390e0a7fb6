"""Files that a prompt names."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.cli.chat.attachments import Prompt, joined, prompt_of, prompt_of_data
from runnerd.errors import ClientError, NotFound
from tests.support.media import png, wav

_PNG = png(1, 1, b"\0" * 4)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which somebody types."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("one\ntwo\n")
    (tmp_path / "a picture.png").write_bytes(_PNG)
    (tmp_path / "talk.wav").write_bytes(wav(bytes(8), rate=8000, width=2))
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "text", "parts"),
    [
        ("Read @notes.txt.", "Read notes.txt:\n```\none\ntwo\n```\n.", []),
        ('Read @"notes.txt", please', "Read notes.txt:\n```\none\ntwo\n```\n, please", []),
        ('What is @"a picture.png"?', "What is ?", ["image_url"]),
        ("What is ./a\\ picture.png?", "What is ?", ["image_url"]),
        ("What is './a picture.png'?", "What is ?", ["image_url"]),
        ("Listen: ./talk.wav", "Listen:", ["input_audio"]),
        ("Listen: (./talk.wav)", "Listen: ()", ["input_audio"]),
        ("talk.wav is a name", "talk.wav is a name", []),
        ("./none.png is not here", "./none.png is not here", []),
        ("ask @anna, don't ask @ben", "ask @anna, don't ask @ben", []),
        ("mail me@example.org", "mail me@example.org", []),
        ("say \\@notes.txt", "say @notes.txt", []),
        ("a \\ lonely one", "a \\ lonely one", []),
        ("/etc/nothing", "/etc/nothing", []),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_is_sent(typed: str, text: str, parts: list[str]) -> None:
    """Names of files go, and their content comes."""
    prompt = prompt_of(typed)
    assert (prompt.text, [part["type"] for part in prompt.parts]) == (text, parts)


def test_what_is_sent_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody has to wonder which files have left the disk."""
    prompt_of("@notes.txt")
    assert capsys.readouterr().err == "sending notes.txt (8 B)\n"


@pytest.mark.parametrize("name", ["none.txt", "./none", "~/none", "~nobody-here/x.txt"])
def test_a_file_that_is_not_there(folder: Path, name: str) -> None:
    """It is told, and nothing is asked."""
    with pytest.raises(NotFound, match="there is no file"):
        prompt_of(f"Read @{name}")


def test_what_cannot_be_sent(folder: Path) -> None:
    """Neither text nor a picture."""
    (folder / "data.bin").write_bytes(b"\xff\0\xfe")
    with pytest.raises(ClientError, match="neither UTF-8"):
        prompt_of("@data.bin")
    (folder / "fake.png").write_bytes(b"\xff\0\xfe")
    with pytest.raises(ClientError, match="no image"):
        prompt_of("./fake.png")


def test_fences_do_not_occur_in_what_they_hold(folder: Path) -> None:
    """A text with fences gets longer ones."""
    (folder / "page.md").write_text("```\ncode\n```\n")
    assert prompt_of("@page.md").text.startswith("page.md:\n````\n```\ncode")


def test_pipes() -> None:
    """Text is text, names of files in it too; images and sounds are known by their first bytes."""
    assert prompt_of_data(b"\xef\xbb\xbfread @/etc/passwd \n") == Prompt("read @/etc/passwd")
    [part] = prompt_of_data(_PNG).parts
    url = f"data:image/png;base64,{base64.b64encode(_PNG).decode()}"
    assert part == {"type": "image_url", "image_url": {"url": url}}
    with pytest.raises(ClientError, match="standard input"):
        prompt_of_data(b"\xff\0\xfe")


def test_content() -> None:
    """A text alone is a string; with parts all of it is a list."""
    assert joined(Prompt("a"), Prompt("b")).content() == "a\n\nb"
    part: dict[str, object] = {"type": "image_url"}
    assert joined(Prompt("", [part]), Prompt("b")).content() == [
        {"type": "text", "text": "b"},
        part,
    ]
    assert Prompt("", [part]).content() == [part]


@given(st.text(st.characters(exclude_characters="@./~", exclude_categories=["Cs"])))
def test_text_without_names_stays(text: str) -> None:
    """Whatever else was typed."""
    assert prompt_of(text).text == text.strip()
