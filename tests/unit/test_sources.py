"""Which files make up a model."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.errors import ClientError, Forbidden, InvalidModelFile, NotFound
from runnerd.models import tiny
from runnerd.models.reference import Reference
from runnerd.models.sources import default_reference, open_sources
from tests.support.ggufs import projector


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model, one split model and one projector."""
    folder = tmp_path_factory.mktemp("originals")
    tiny.write_completion_model(folder / "one.gguf")
    tiny.write_sharded_model(folder, name="split")
    (folder / "mmproj-one-f16.gguf").write_bytes(projector())
    return folder


def names(paths: list[Path], mmproj: Path | None = None) -> tuple[list[str], str | None]:
    """Return the names of the weights and of the projector."""
    with closing(open_sources(paths, mmproj=mmproj)) as sources:
        projector = sources.mmproj.name if sources.mmproj else None
        return [source.name for source in sources.weights], projector


@pytest.fixture(autouse=True)
def no_descriptor_left() -> Iterator[None]:
    """Fail a test that leaves a file open."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


def link_all(folder: Path, originals: Path, *wanted: str) -> Path:
    """Fill a folder with symbolic links, as Hugging Face's cache is."""
    for name in wanted:
        (folder / name).symlink_to(originals / name)
    return folder


def test_one_file(originals: Path) -> None:
    """A single file is a model by itself."""
    assert names([originals / "one.gguf"]) == (["one.gguf"], None)


def test_any_part_finds_its_siblings(originals: Path) -> None:
    """Naming one part of a split set takes all parts in order."""
    expected = [f"split-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert names([originals / expected[1]]) == (expected, None)
    assert names([originals / name for name in reversed(expected)]) == (expected, None)


def test_a_missing_part_is_named(originals: Path, tmp_path: Path) -> None:
    """A split set with a hole is refused, with the name of what lacks."""
    link_all(tmp_path, originals, "split-00001-of-00003.gguf", "split-00003-of-00003.gguf")
    with pytest.raises(InvalidModelFile, match=r"split-00002-of-00003\.gguf"):
        open_sources([tmp_path / "split-00001-of-00003.gguf"])


def test_parts_of_different_models(originals: Path, tmp_path: Path) -> None:
    """RelayDependencies that were exchanged or renamed are refused."""
    link_all(tmp_path, originals, "split-00001-of-00003.gguf", "split-00002-of-00003.gguf")
    (tmp_path / "split-00003-of-00003.gguf").symlink_to(originals / "split-00002-of-00003.gguf")
    with pytest.raises(InvalidModelFile, match="not part 3 of 3"):
        open_sources([tmp_path / "split-00001-of-00003.gguf"])
    (tmp_path / "alone.gguf").symlink_to(originals / "split-00001-of-00003.gguf")
    with pytest.raises(InvalidModelFile, match="3 parts"):
        open_sources([tmp_path / "alone.gguf"])


def test_a_folder_with_a_model_and_its_projector(originals: Path, tmp_path: Path) -> None:
    """A folder is one model; its projector is known by its header, not by its name."""
    link_all(tmp_path, originals, "one.gguf")
    (tmp_path / "anything.gguf").symlink_to(originals / "mmproj-one-f16.gguf")
    (tmp_path / "README.md").write_text("not a model")
    assert names([tmp_path]) == (["one.gguf"], "anything.gguf")


def test_folders_that_are_not_one_model(originals: Path, tmp_path: Path) -> None:
    """Several models, several projectors or none at all are refused with the names."""
    with pytest.raises(InvalidModelFile, match=r"no \.gguf file"):
        open_sources([tmp_path])
    with pytest.raises(InvalidModelFile, match=r"several models.*one\.gguf.*split-00001"):
        open_sources([originals])
    link_all(tmp_path, originals, "mmproj-one-f16.gguf")
    with pytest.raises(InvalidModelFile, match="is a projector"):
        open_sources([tmp_path])
    link_all(tmp_path, originals, "one.gguf")
    (tmp_path / "mmproj-2.gguf").symlink_to(originals / "mmproj-one-f16.gguf")
    with pytest.raises(InvalidModelFile, match="several projectors"):
        open_sources([tmp_path])
    assert names([tmp_path], tmp_path / "mmproj-2.gguf") == (["one.gguf"], "mmproj-2.gguf")


def test_roles_are_checked(originals: Path) -> None:
    """A projector is no model and a model no projector."""
    with pytest.raises(InvalidModelFile, match="give it as the mmproj"):
        open_sources([originals / "mmproj-one-f16.gguf"])
    with pytest.raises(InvalidModelFile, match="whole model"):
        open_sources([originals / "one.gguf"], mmproj=originals / "one.gguf")


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    """Pipes, devices and sockets are refused without waiting for them, also behind a link."""
    os.mkfifo(tmp_path / "pipe.gguf")
    (tmp_path / "link.gguf").symlink_to(tmp_path / "pipe.gguf")
    (tmp_path / "zero.gguf").symlink_to("/dev/zero")
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(tmp_path / "s.gguf"))
        for name in ("pipe.gguf", "link.gguf", "zero.gguf", "s.gguf"):
            with pytest.raises(InvalidModelFile, match="not a regular file"):
                open_sources([tmp_path / name])
    (tmp_path / "s.gguf").unlink()


def test_files_that_are_not_there(tmp_path: Path) -> None:
    """Missing files, loops, folders with a dot and NUL bytes are the caller's errors."""
    (tmp_path / "loop.gguf").symlink_to(tmp_path / "loop.gguf")
    (tmp_path / "folder.gguf").mkdir()
    with pytest.raises(NotFound, match=r"no file .*nothing\.gguf"):
        open_sources([tmp_path / "nothing.gguf"])
    with pytest.raises(ClientError):
        open_sources([tmp_path / "loop.gguf"])
    with pytest.raises(ClientError):
        open_sources([tmp_path / "a\0b.gguf"])
    with pytest.raises(ClientError):
        open_sources([tmp_path / "folder.gguf"])
    with pytest.raises(ClientError):
        open_sources([])


def test_permission_errors_are_forbidden(originals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel refuses becomes Forbidden, whoever runs the tests."""

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("runnerd.models.sources.os.open", refuse)
    with pytest.raises(Forbidden, match="permission denied"):
        open_sources([originals / "one.gguf"])


def test_a_chat_template_is_text(originals: Path, tmp_path: Path) -> None:
    """Templates are UTF-8, not empty and not huge."""
    template = tmp_path / "t.jinja"
    for content in (b"", b" \n", b"\xff\xfe", b"a\0b", b"x" * (2**20 + 1)):
        template.write_bytes(content)
        with pytest.raises(InvalidModelFile, match="no chat template"):
            open_sources([originals / "one.gguf"], chat_template=template)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Llama-3.2-1B-Instruct-Q4_K_M.gguf", "ai/llama-3.2-1b-instruct:q4_k_m"),
        ("smollm2.gguf", "ai/smollm2:latest"),
        ("model.Q8_0.GGUF", "ai/model:q8_0"),
        ("x-UD-IQ2_XXS-00001-of-00003.gguf", "ai/x:ud-iq2_xxs"),
        ("all-MiniLM-L6-v2.F16.gguf", "ai/all-minilm-l6-v2:f16"),
        ("gpt-oss-20b-mxfp4.gguf", "ai/gpt-oss-20b:mxfp4"),
        ("Q4_0.gguf", "ai/q4_0:latest"),
        ("Mein Modell (neu)!.gguf", "ai/mein-modell-neu:latest"),
        ("...gguf", "ai/model:latest"),
        (".gguf", "ai/model:latest"),
        ("sha256.gguf", "ai/model-sha256:latest"),
        ("x..y.gguf", "ai/x.y:latest"),
    ],
)
def test_the_name_of_a_file_becomes_a_tag(name: str, expected: str) -> None:
    """The quantization is the tag, the rest the name, and what cannot be written becomes a dash."""
    assert str(default_reference(name)) == expected


@given(st.text(max_size=300))
def test_every_name_gives_a_tag(name: str) -> None:
    """Whatever a file is called, there is a valid default tag for it."""
    reference = default_reference(name)
    assert Reference.parse(str(reference)) == reference


def test_generic_names_take_the_folders(originals: Path, tmp_path: Path) -> None:
    """`model.gguf` says nothing, so its folder's name is used."""
    folder = tmp_path / "Gemma-3-Q4_0"
    folder.mkdir()
    (folder / "model.gguf").symlink_to(originals / "one.gguf")
    for path in (folder, folder / "model.gguf"):
        with closing(open_sources([path])) as sources:
            assert str(default_reference(sources.name)) == "ai/gemma-3:q4_0"
