"""Files that are opened only when they are what was written there."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from runnerd import regular
from runnerd.regular import Unusable


def pipe(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def link(path: Path) -> None:
    target = path.with_name("somebody's")
    target.write_text("secret", encoding="utf-8")
    path.symlink_to(target)


def listener(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize(
    ("make", "said"),
    [(pipe, "named pipe"), (folder, "folder"), (link, "symbolic link"), (listener, "socket")],
)
def test_what_is_no_regular_file_is_named(make: object, said: str, tmp_path: Path) -> None:
    """At once: nobody feeds the pipe, and a read of it would wait for ever."""
    path = tmp_path / "f"
    assert callable(make)
    make(path)
    with pytest.raises(Unusable, match=said):
        regular.read(path, most=10)
    with pytest.raises(Unusable, match=said):
        regular.open_regular(path, os.O_WRONLY | os.O_CREAT)
    if path.is_socket():
        path.unlink()


def test_a_link_that_a_person_named_is_followed(tmp_path: Path) -> None:
    """And nothing else than a regular file is behind it."""
    link(tmp_path / "f")
    assert regular.read(tmp_path / "f", most=10, follow=True) == b"secret"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "g").symlink_to(tmp_path / "pipe")
    with pytest.raises(Unusable, match="named pipe"):
        regular.read(tmp_path / "g", most=10, follow=True)


def test_no_more_is_read_than_may_be_there(tmp_path: Path) -> None:
    """A sparse file of a terabyte is not read to its end."""
    path = tmp_path / "f"
    path.write_bytes(b"12345")
    assert regular.read(path, most=5) == b"12345"
    os.truncate(path, 2**40)
    with pytest.raises(Unusable, match="more than 5 bytes"):
        regular.read(path, most=5)


@pytest.mark.parametrize("text", [b"{", b'{"a":1}', b"\xff", b"[" * 20000, b""])
def test_a_document_that_is_none(text: bytes, tmp_path: Path) -> None:
    """Is an OSError as any other file that cannot be used, told in one line."""
    path = tmp_path / "f"
    path.write_bytes(text)
    with pytest.raises(OSError, match="damaged") as found:
        regular.read_json(path, dict[str, str], most=2**20)
    assert "\n" not in str(found.value)


def test_what_is_in_the_way_is_kept_beside(tmp_path: Path) -> None:
    """Under a name that nothing has: what was moved away before is kept, too."""
    for number in ("", "1", "2"):
        (tmp_path / "f").write_text(number, encoding="utf-8")
        aside = regular.set_aside(tmp_path / "f")
        assert aside == tmp_path / f"f.unusable{number}"
        assert aside.read_text(encoding="utf-8") == number
    (tmp_path / "g.unusable").symlink_to("nowhere")
    assert regular.free_name(tmp_path / "g") == tmp_path / "g.unusable1"
