"""Which files of a repository make the model that was meant.

A repository holds the same weights in many quantisations, some split into shards, some in folders,
and other files beside them (`file_kinds`).  A named quantisation has to exist: getting another one
silently would be a surprise of gigabytes.  Without a name, the usual compromise Q4_K_M is taken if
it fits this machine's memory, else the best that does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from runnerd.errors import InvalidModelFile, ModelNotFound
from runnerd.pulls.file_kinds import (
    FileKind,
    RepositoryFile,
    bits_of,
    is_usable_draft,
    kinds_of,
    label_in,
    listed,
)
from runnerd.units import binary_size

_SHARD = re.compile(r"(?P<prefix>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
_PREFERRED = (
    *("Q4_K_M", "UD-Q4_K_XL", "Q4_K_L", "MXFP4", "Q4_K_S", "IQ4_NL", "IQ4_XS", "Q4_1", "Q4_0"),
    *("Q3_K_L", "Q3_K_M", "Q3_K_S", "IQ3_M", "IQ3_S", "IQ3_XS", "IQ3_XXS"),
    *("Q2_K_L", "Q2_K", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S"),
    *("Q5_K_S", "Q5_K_M", "Q5_1", "Q5_0", "Q6_K", "Q8_0", "F16", "BF16", "F32"),
)
UNSTATED = "latest"
_PROJECTORS = ("f16", "fp16", "bf16", "q8_0", "f32", "fp32")
_SMALLER = 4  # what has so many times fewer weights than another file is perhaps no model
_MOST_TOLD = 12

Group = list[RepositoryFile]


@dataclass(frozen=True, slots=True)
class Selection:
    """The files to fetch: shards in order, perhaps a projector; `label` names the quantisation.
    `draft` is a model that drafts for it, which fits beside it.

    `others` are the labels and sizes that could be had instead, `sidecars` what was left out, and
    `is_sure` says that names and sizes leave no doubt that these are a model's weights.
    """

    label: str
    weights: tuple[RepositoryFile, ...]
    mmproj: RepositoryFile | None = None
    draft: RepositoryFile | None = None
    is_default: bool = False
    fits: bool = True
    is_sure: bool = True
    others: tuple[tuple[str, int], ...] = ()
    sidecars: tuple[tuple[str, FileKind], ...] = ()

    @property
    def size(self) -> int:
        """The bytes of all of it."""
        extra = self.mmproj.size if self.mmproj else 0
        return extra + _bytes(self.weights)


def select(
    files: Sequence[RepositoryFile],
    wanted: str | None,
    memory_bytes: int,
    known: Mapping[str, FileKind] | None = None,
) -> Selection:
    """Choose the model's files.  `wanted` is a quantisation or a file's name, None for the default;
    `known` is what the headers of some files have said that they are.

    Raises errors.ModelNotFound where there is no such one, naming those that there are;
    InvalidModelFile for a repository without GGUF files or with an incomplete set.
    """
    ggufs = listed(files)
    kinds = kinds_of(ggufs, known)
    groups = _groups(_of(FileKind.WEIGHTS, ggufs, kinds))
    drafts = _groups(_of(FileKind.DRAFT, ggufs, kinds))
    if not groups and not drafts:
        there = sorted({kind.value for kind in kinds.values()})
        raise InvalidModelFile(
            "the repository holds no GGUF model"
            + (f", only {' and '.join(there)}" if there else "")
            + "; look for one whose name ends in -GGUF"
        )
    projector = _projector(_of(FileKind.PROJECTOR, ggufs, kinds))
    extra = projector.size if projector else 0
    usual = groups or drafts
    if wanted is not None:
        found = _named(usual, drafts, wanted)
    else:
        found = _default(usual, memory_bytes, extra)
    rest = [group for group in usual if group is not found]
    is_draft = found in drafts and bool(groups)
    return Selection(
        label_of(found),
        _complete(found),
        None if is_draft else projector,
        None if not groups or is_draft else _draft(drafts, found, _most(memory_bytes) - extra),
        is_default=wanted is None,
        fits=_bytes(found) + extra <= _most(memory_bytes),
        is_sure=wanted is not None or _is_sure(found, usual, is_fallback=not groups),
        others=tuple((_called(group), _bytes(group)) for group in rest),
        sidecars=tuple(
            (path, kind)
            for path, kind in kinds.items()
            if kind is not FileKind.WEIGHTS
            and (projector is None or path != projector.path or is_draft)
            and path not in {file.path for file in found}
        ),
    )


def label_of(group: Sequence[RepositoryFile]) -> str:
    """Return the quantisation that the files' name states, `latest` where it states none."""
    path = group[0].path
    stem = match["prefix"] if (match := _SHARD.fullmatch(path)) else path[: -len(".gguf")]
    return label_in(stem) or UNSTATED


def _called(group: Sequence[RepositoryFile]) -> str:
    """The word behind the colon that selects these files: their quantisation, else a name."""
    label = label_of(group)
    return _name(group[0].path) if label == UNSTATED else label


def _of(
    kind: FileKind, files: Sequence[RepositoryFile], kinds: Mapping[str, FileKind]
) -> list[RepositoryFile]:
    return [file for file in files if kinds[file.path] is kind]


def _bytes(group: Sequence[RepositoryFile]) -> int:
    return sum(file.size for file in group)


def _most(memory_bytes: int) -> float:
    return 0.9 * memory_bytes


def _weights(group: Sequence[RepositoryFile]) -> float:
    """About how many weights files hold."""
    return _bytes(group) * 8 / bits_of(label_of(group))


def _is_sure(found: Group, groups: Sequence[Group], *, is_fallback: bool) -> bool:
    """Whether the choice can be nothing but the model's weights."""
    if is_fallback:
        return False
    if len(groups) == 1:
        return True
    stated = label_of(found) != UNSTATED
    return stated and not _is_small(found, groups)


def _is_small(group: Group, groups: Sequence[Group]) -> bool:
    return _weights(group) * _SMALLER < max(map(_weights, groups))


def _groups(files: Sequence[RepositoryFile]) -> list[Group]:
    """Return the files, those of a split model together and in order."""
    found: dict[tuple[str, str], Group] = {}
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


def _named(groups: Sequence[Group], drafts: Sequence[Group], wanted: str) -> Group:
    """The files of a name: of the usual ones by their quantisation, of all by a file's name."""
    lower = wanted.lower()
    every = [*groups, *(group for group in drafts if group not in groups)]
    tests: tuple[tuple[Sequence[Group], Callable[[Group], bool]], ...] = (
        (groups, lambda group: label_of(group).lower() == lower),
        (every, lambda group: _name(group[0].path).lower() in (lower, f"{lower}.gguf")),
        (groups, lambda group: lower in re.split(r"[-./]", group[0].path.lower())),
    )
    for among, matches in tests:
        found = [group for group in among if matches(group)]
        if found:
            return min(found, key=lambda group: (len(group[0].path), group[0].path))
    labels = sorted({label_of(group) for group in groups})
    raise ModelNotFound(
        f"the repository has no {wanted[:64]!r}; it has {', '.join(labels[:20])}", param="model"
    )


def _default(groups: Sequence[Group], memory_bytes: int, extra: int) -> Group:
    def rank(group: Group) -> tuple[bool, bool, int, int]:
        label, size = label_of(group), _bytes(group)
        fits = size + extra <= _most(memory_bytes)
        place = _PREFERRED.index(label) if label in _PREFERRED else len(_PREFERRED)
        small = _is_small(group, groups)
        # Of those that do not fit, the smallest.
        # Of those that state no quantisation a sidecar is rather the smaller one.
        by_size = size if label != UNSTATED else -size
        return (False, small, place, by_size) if fits else (True, False, size, 0)

    return min(groups, key=rank)


def _projector(files: Sequence[RepositoryFile]) -> RepositoryFile | None:
    def rank(file: RepositoryFile) -> tuple[int, str]:
        tokens = re.split(r"[-./]", file.path.lower())
        places = [place for place, label in enumerate(_PROJECTORS) if label in tokens]
        return (min(places, default=len(_PROJECTORS)), file.path)

    return min(files, key=rank, default=None)


def _draft(drafts: Sequence[Group], model: Group, room: float) -> RepositoryFile | None:
    """The draft model to fetch with a model: quantised as that is, else the smallest."""
    most = min(_bytes(model), room - _bytes(model))
    fitting = [
        group[0]
        for group in drafts
        if len(group) == 1 and group[0].size < most and is_usable_draft(group[0].path)
    ]
    label = label_of(model)
    return min(fitting, key=lambda file: (label_of([file]) != label, file.size), default=None)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def news(selection: Selection, count: int, repository: str) -> tuple[str, ...]:
    """The lines that tell people of the choice."""
    how = "default" if selection.is_default else "named"
    name, size = _name(selection.weights[0].path), binary_size(selection.size)
    told = [f"Found {count} files in the repository"]
    if selection.label == UNSTATED:
        told.append(f"Selected {name} ({how}, {size})")
    else:
        told.append(f"Selected {selection.label} quantization ({how}, {size}): {name}")
    if not selection.fits:
        told.append("It is larger than this host's memory" + ", as all are" * selection.is_default)
    if selection.others:
        sizes = [f"{label} ({binary_size(size)})" for label, size in selection.others]
        told.append(f"There are also {_some(sizes)}")
    draft = selection.draft
    left = [each for each in selection.sidecars if draft is None or each[0] != draft.path]
    if left:
        names = [f"{_name(path)} ({kind.value})" for path, kind in left]
        told.append(f"Not taken: {_some(names)}")
    drafts = [_name(path) for path, kind in left if kind is FileKind.DRAFT]
    if drafts and draft is None:
        told.append(
            f"The draft model, for `speculative`: `runnerd pull hf.co/{repository}:{drafts[0]}`"
        )
    return tuple(told)


def _some(texts: Sequence[str]) -> str:
    more = len(texts) - _MOST_TOLD
    return ", ".join(texts[:_MOST_TOLD]) + (f" and {more} more" if more > 0 else "")
