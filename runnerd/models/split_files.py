"""Split models, as llama.cpp names and numbers their files, and whether all parts are there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from runnerd.errors import InvalidModelFile
from runnerd.models.gguf_header import GGUFHeader
from runnerd.models.given_files import readable

_SHARD = re.compile(r"(?P<prefix>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


def with_siblings(path: Path) -> list[Path]:
    """All files of the model that one of them is named of, in order; itself where it is not split.

    Raises errors.InvalidModelFile where one is not beside it, NotFound, Forbidden.
    """
    match = _SHARD.fullmatch(path.name)
    if not match:
        return [path]
    count = int(match["count"])
    if not 1 <= int(match["number"]) <= count <= 999:
        raise InvalidModelFile(f"{path.name} is numbered wrongly for a part of a split model")
    names = [f"{match['prefix']}-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]
    siblings = [path.with_name(name) for name in names]
    with readable(path):
        missing = [sibling.name for sibling in siblings if not sibling.exists()]
    if missing:
        raise InvalidModelFile(
            f"{path.name} is one of {count} parts, and {', '.join(missing[:5])} is not beside it"
        )
    return siblings


def check_split(headers: Sequence[GGUFHeader]) -> None:
    """Raise errors.InvalidModelFile unless `headers` are all parts of one model in their order."""
    count = max(headers[0].number("split.count"), 1)
    if count != len(headers):
        raise InvalidModelFile(
            f"{headers[0].name} says that the model has {count} parts, but there are"
            f" {len(headers)}; split files are named NAME-00001-of-0000N.gguf"
        )
    for number, header in enumerate(headers):
        if header.number("split.no") != number or max(header.number("split.count"), 1) != count:
            raise InvalidModelFile(
                f"{header.name} is not part {number + 1} of {count} of this model"
            )
    stated = headers[0].number("split.tensors.count")
    if count > 1 and stated != sum(len(header.tensors) for header in headers):
        raise InvalidModelFile(
            f"the {count} parts of {headers[0].name} do not hold the tensors it lists"
        )


def without_shard(name: str) -> str:
    """A file's name without its number and its ending."""
    match = _SHARD.fullmatch(name)
    return match["prefix"] if match else re.sub(r"\.gguf$", "", name, flags=re.IGNORECASE)
