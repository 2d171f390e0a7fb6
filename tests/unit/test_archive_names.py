"""Archives on the command line: what they may be called, and what is said of other names."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from runnerd.cli.exporting import export
from runnerd.cli.imports import import_models
from runnerd.errors import ClientError

COVERS = (
    "runnerd.cli.exporting",
    "runnerd.cli.imports",
)

NOBODY = "http://127.0.0.1:1"


@pytest.mark.parametrize("name", ["m.tar.gz", "m.TGZ", "m.tar.zst"])
def test_a_compressed_archive(tmp_path: Path, name: str) -> None:
    """It is no GGUF file that would be broken: it has to be decompressed."""
    (tmp_path / name).write_bytes(b"x")
    options = argparse.Namespace(
        source=None, path=[str(tmp_path / name)], recursive=False, tag=None, host=NOBODY,
        json=False, force=False, in_place=False, mmproj=None, chat_template=None,
    )  # fmt: skip
    with pytest.raises(ClientError, match="decompress it"):
        import_models(options)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_is_a_dash(name: str) -> None:
    """Its other names say how it is written."""
    options = argparse.Namespace(
        model="m", output=name, force=True, format="docker", host=NOBODY, json=False
    )
    with pytest.raises(ClientError, match="`-o -`"):
        export(options)
