"""The tables of flags against the engine that is here: nothing that it has is overlooked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from runnerd.backends.commands import run_command
from runnerd.backends.llamacpp.flag_refusals import REASONS
from runnerd.backends.llamacpp.flag_table import FLAGS, Flag
from runnerd.backends.llamacpp.flag_types import (
    Choice,
    Integer,
    JsonObject,
    List,
    Number,
    Pattern,
    TensorPlaces,
    Text,
    Type,
)
from runnerd.backends.llamacpp.flags import parse_flags, spelled
from runnerd.backends.llamacpp.native_server import NativeServer
from runnerd.backends.llamacpp.server import ServerFinder
from runnerd.backends.llamacpp.settings import parse_settings

pytestmark = pytest.mark.engine

_DESCRIPTIONS_START = 40  # column of --help
_NAME = re.compile(r"(?<![\w<-])--?[A-Za-z][A-Za-z0-9.-]*")

# Values for what only a regular expression describes.
_PATTERNS = {
    "--cpu-mask": "0x3", "--cpu-mask-batch": "3", "--spec-draft-cpu-mask": "3",
    "--spec-draft-cpu-mask-batch": "3", "--cpu-range": "0-1", "--cpu-range-batch": "0-1",
    "--spec-draft-cpu-range": "0-1", "--device": "none",
    "--mmproj-device": "none", "--spec-draft-device": "none", "--n-gpu-layers": "auto",
    "--spec-draft-ngl": "auto", "--sampler-seq": "kt", "--logit-bias": "5+1.5",
    "--override-kv": "a.b=bool:true,a.c=int:-1",
}  # fmt: skip

# What other versions call so.
_ELSEWHERE = {"--mlock", "--mmap", "--no-mmap", "--direct-io", "--no-direct-io"}


async def _server(folder: Path) -> NativeServer:
    server = await ServerFinder(parse_settings({}), folder).find()
    assert server is not None
    return server


async def _help(server: NativeServer) -> str:
    return (await run_command([str(server.path), "--help"], timeout=60, output_bytes=2**20)).output


def _offered(text: str) -> Iterator[str]:
    """Yield every name of every flag that --help describes."""
    for line in text.splitlines():
        if not line.startswith("-") or line.startswith("---"):
            continue
        described = len(line) > _DESCRIPTIONS_START and line[_DESCRIPTIONS_START - 1] == " "
        yield from _NAME.findall(line[:_DESCRIPTIONS_START] if described else line)


async def test_every_flag_of_the_engine_was_looked_at(tmp_path: Path) -> None:
    """It is allowed, or refused with a sentence of its own.  One that a newer llama.cpp brings
    fails here: decide, and put it into flag_table or flag_refusals.
    """
    offered = set(_offered(await _help(await _server(tmp_path))))
    assert len(offered) > 300
    allowed = {name for flag in FLAGS for name in (flag.name, *flag.aliases)}
    assert not allowed & REASONS.keys()
    assert offered - allowed - REASONS.keys() == set()


async def test_every_allowed_flag_is_taken(tmp_path: Path) -> None:
    """By the engine's own parser, with a value of the table's type."""
    server = await _server(tmp_path)
    assert {flag.name for flag in FLAGS} - server.options - _ELSEWHERE == set()
    said = [token for flag in FLAGS for token in _sample(flag)]
    argv = spelled(parse_flags(said), server.options)
    result = await run_command([str(server.path), *argv, "--version"], timeout=60)
    assert result.code == 0, result.output[-2000:]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (["--no-mmap"], ["--load-mode", "none"]),
        (["--mmap"], ["--load-mode", "mmap"]),
        (["--mlock"], ["--load-mode", "mmap+mlock"]),
        (["--mlock", "--no-mmap"], ["--load-mode", "mlock"]),
        (["--direct-io"], ["--load-mode", "dio"]),
        (["--draft-max", "3"], ["--spec-draft-n-max", "3"]),
    ],
)
async def test_older_names_mean_the_same(tmp_path: Path, said: list[str], meant: list[str]) -> None:
    """What this llama.cpp has removed is put into its words."""
    server = await _server(tmp_path)
    assert spelled(parse_flags(said), server.options) == meant


def _sample(flag: Flag) -> list[str]:
    if flag.type is None:
        return [flag.name]
    return [f"{flag.name}={_PATTERNS.get(flag.name) or _value(flag.type)}"]


def _value(type: Type) -> str:
    match type:
        case Integer(low, high) | Number(low, high):
            return f"{max(low, min(1, high)):g}"
        case Choice(choices):
            return choices[0]
        case List(item):
            return _value(item)
        case Text():
            return "a word"
        case JsonObject():
            return '{"type": "object"}'
        case TensorPlaces():
            return r"blk\.[0-9]+\.ffn=CPU"
        case Pattern(pattern):
            raise AssertionError(f"no sample for {pattern}")
        case _:
            raise AssertionError(type)
