"""Which files of a repository make the model that was meant.

A repository holds the same weights in many quantisations, some split into shards, some in folders,
and projectors beside them.  A named quantisation has to exist: getting another one silently would
be a surprise of gigabytes.  Without a name, the usual compromise Q4_K_M is taken if it fits this
machine's memory, else the best that does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runnerd.errors import InvalidModelFile, ModelNotFound
from runnerd.models.digest import Digest
from runnerd.units import binary_size

_SHARD = re.compile(r"(?P<prefix>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
_LABEL = re.compile(
    r"(?:^|[-._/])((?:ud-)?(?:i?q\d\w*|tq\d\w*|bf16|fp?16|fp?32|mxfp4\w*|nvfp4))(?=$|[-._/])",
    re.IGNORECASE,
)
_PREFERRED = (
    *("Q4_K_M", "UD-Q4_K_XL", "Q4_K_L", "MXFP4", "Q4_K_S", "IQ4_NL", "IQ4_XS", "Q4_1", "Q4_0"),
    *("Q3_K_L", "Q3_K_M", "Q3_K_S", "IQ3_M", "IQ3_S", "IQ3_XS", "IQ3_XXS"),
    *("Q2_K_L", "Q2_K", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S"),
    *("Q5_K_S", "Q5_K_M", "Q5_1", "Q5_0", "Q6_K", "Q8_0", "F16", "BF16", "F32"),
)
_PROJECTORS = ("f16", "fp16", "bf16", "q8_0", "f32", "fp32")
_NOT_WEIGHTS = ("mmproj", "imatrix")


@dataclass(frozen=True, slots=True)
class RepositoryFile:
    """A file of a repository; `digest` is None for small ones kept in git itself."""

    path: str
    size: int
    digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """The files to fetch: shards in order, perhaps a projector; `label` names the quantisation."""

    label: str
    weights: tuple[RepositoryFile, ...]
    mmproj: RepositoryFile | None = None
    is_default: bool = False

    @property
    def size(self) -> int:
        """The bytes of all of it."""
        extra = self.mmproj.size if self.mmproj else 0
        return extra + sum(file.size for file in self.weights)


def select(files: Sequence[RepositoryFile], wanted: str | None, memory_bytes: int) -> Selection:
    """Choose the model's files.  `wanted` is a quantisation or a file's name, None for the default.

    Raises errors.ModelNotFound where there is no such one, naming those that there are;
    InvalidModelFile for a repository without GGUF files or with an incomplete set.
    """
    ggufs = [file for file in files if file.path.lower().endswith(".gguf")]
    groups = _groups([file for file in ggufs if not _is_extra(file.path)])
    if not groups:
        raise InvalidModelFile(
            "the repository holds no GGUF model; look for one whose name ends in -GGUF"
        )
    projector = _projector([file for file in ggufs if "mmproj" in _name(file.path).lower()])
    if wanted is not None:
        found = _named(groups, wanted)
    else:
        found = _default(groups, memory_bytes, projector.size if projector else 0)
    return Selection(label_of(found), _complete(found), projector, wanted is None)


def label_of(group: Sequence[RepositoryFile]) -> str:
    """Return the quantisation that the files' name states, `latest` where it states none."""
    path = group[0].path
    stem = match["prefix"] if (match := _SHARD.fullmatch(path)) else path[: -len(".gguf")]
    labels = _LABEL.findall(_name(stem)) or _LABEL.findall(stem)
    return str(labels[-1]).upper() if labels else "latest"


def _groups(files: Sequence[RepositoryFile]) -> list[list[RepositoryFile]]:
    """Return the files, those of a split model together and in order."""
    found: dict[tuple[str, str], list[RepositoryFile]] = {}
    for file in sorted(files, key=lambda file: file.path):
        match = _SHARD.fullmatch(file.path)
        key = (match["prefix"], match["count"]) if match else (file.path, "")
        found.setdefault(key, []).append(file)
    return list(found.values())


def _complete(group: Sequence[RepositoryFile]) -> tuple[RepositoryFile, ...]:
    match = _SHARD.fullmatch(group[0].path)
    if match is not None and len(group) != int(match["count"]):
        raise InvalidModelFile(
            f"the repository has {len(group)} of the {int(match['count'])} parts of"
            f" {_name(match['prefix'])}"
        )
    return tuple(group)


def _named(groups: Sequence[list[RepositoryFile]], wanted: str) -> list[RepositoryFile]:
    lower = wanted.lower()
    tests: tuple[Callable[[list[RepositoryFile]], bool], ...] = (
        lambda group: label_of(group).lower() == lower,
        lambda group: _name(group[0].path).lower() in (lower, f"{lower}.gguf"),
        lambda group: lower in re.split(r"[-./]", group[0].path.lower()),
    )
    for matches in tests:
        found = [group for group in groups if matches(group)]
        if found:
            return min(found, key=lambda group: (len(group[0].path), group[0].path))
    labels = sorted({label_of(group) for group in groups})
    raise ModelNotFound(
        f"the repository has no {wanted[:64]!r}; it has {', '.join(labels[:20])}", param="model"
    )


def _default(
    groups: Sequence[list[RepositoryFile]], memory_bytes: int, extra: int
) -> list[RepositoryFile]:
    def rank(group: list[RepositoryFile]) -> tuple[bool, int, int]:
        label = label_of(group)
        size = sum(file.size for file in group)
        fits = size + extra <= 0.9 * memory_bytes
        place = _PREFERRED.index(label) if label in _PREFERRED else len(_PREFERRED)
        # Of those that do not fit, the smallest.
        return (False, place, size) if fits else (True, size, 0)

    return min(groups, key=rank)


def _projector(files: Sequence[RepositoryFile]) -> RepositoryFile | None:
    def rank(file: RepositoryFile) -> tuple[int, str]:
        tokens = re.split(r"[-./]", file.path.lower())
        places = [place for place, label in enumerate(_PROJECTORS) if label in tokens]
        return (min(places, default=len(_PROJECTORS)), file.path)

    return min(files, key=rank, default=None)


def _is_extra(path: str) -> bool:
    return any(word in _name(path).lower() for word in _NOT_WEIGHTS)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def news(selection: Selection, count: int) -> tuple[str, ...]:
    """Return what people should know about the choice."""
    how = "default" if selection.is_default else "named"
    return (
        f"Found {count} files in the repository",
        f"Selected {selection.label} quantization ({how}, {binary_size(selection.size)})",
    )
