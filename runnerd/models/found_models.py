"""GGUF files of a folder, as the models that they make up."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-\d{5}\.gguf", re.IGNORECASE)
_PROJECTOR = re.compile(r"mmproj", re.IGNORECASE)


@dataclass(frozen=True)
class FoundModel:
    """A model of another program.  Without a `name` it is called after its file.

    `settings` is what belongs to it beside its weights, as `POST /api/create` takes it.
    """

    path: Path
    size: int
    mmproj: Path | None = None
    name: str = ""
    settings: dict[str, object] = field(default_factory=dict)
    weights: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All its files: the weights, the first one first, and the projector."""
        return (*self.weights, *((self.mmproj,) if self.mmproj else ()))

    @property
    def shown(self) -> str:
        """What people know it by."""
        return self.name or self.path.name.removesuffix(".gguf")

    def called(self, name: str) -> FoundModel:
        """The same with a name."""
        return replace(self, name=name)

    def to_json(self) -> dict[str, object]:
        """What `--list --json` prints."""
        return {
            "model": self.shown,
            "size_bytes": self.size,
            "file": str(self.path),
            "mmproj": str(self.mmproj) if self.mmproj else None,
        }


def gguf_sets(folder: Path) -> Iterator[FoundModel]:
    """The models whose files lie in a folder, not below: split ones once, projectors beside them.

    Of several projectors none is taken: only their owner knows which belongs to which.
    """
    files = sorted(path for path in folder.glob("*") if _is_gguf(path))
    projectors = [path for path in files if _PROJECTOR.search(path.name)]
    mmproj = projectors[0] if len(projectors) == 1 else None
    for path in files:
        shard = _SHARD.fullmatch(path.name)
        if path in projectors or (shard and int(shard["number"]) != 1):
            continue
        parts = _parts(files, shard["stem"]) if shard else [path]
        size = sum(part.stat().st_size for part in parts)
        yield FoundModel(path, size, mmproj, weights=tuple(parts))


def _is_gguf(path: Path) -> bool:
    """Whether a file that is there can be one, and its name be told."""
    with contextlib.suppress(OSError, UnicodeError):
        str(path).encode()
        return path.suffix.lower() == ".gguf" and path.is_file()
    return False


def folders_below(folder: Path) -> Iterator[Path]:
    """A folder and those below it, without those behind links."""
    for path, names, _ in os.walk(folder):
        names.sort()
        yield Path(path)


def _parts(files: list[Path], stem: str) -> list[Path]:
    found = []
    for path in files:
        shard = _SHARD.fullmatch(path.name)
        if shard and shard["stem"] == stem:
            found.append(path)
    return found
