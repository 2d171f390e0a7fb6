"""What the GGUF files of a repository are, as far as their names and sizes say it.

Beside the weights lie files that look like them: draft models, projectors, adapters, importance
matrices, bare vocabularies.  Nothing but habit says how they are called, so a word counts only
where it tells files apart: in a repository of draft models, where every name has it, the drafts
are the models.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from runnerd.models.digest import Digest
from runnerd.models.gguf_start import GGUFStart


class FileKind(enum.Enum):
    """What a GGUF file is for; the value is for people."""

    WEIGHTS = "weights"
    DRAFT = "draft model"
    PROJECTOR = "projector"
    ADAPTER = "LoRA adapter"
    MATRIX = "importance matrix"
    VOCABULARY = "vocabulary only"


@dataclass(frozen=True, slots=True)
class RepositoryFile:
    """A file of a repository; `digest` is None for small ones kept in git itself."""

    path: str
    size: int
    digest: Digest | None = None


_LABEL = re.compile(
    r"(?:^|[-._/])((?:ud-)?(?:i?q\d\w*|tq\d\w*|bf16|fp?16|fp?32|mxfp4\w*|nvfp4))(?=$|[-._/])",
    re.IGNORECASE,
)
_DRAFT_WORDS = frozenset(
    "mtp nextn eagle eagle2 eagle3 draft drafter drafts dflash dspark medusa speculator"
    " assistant".split()
)
_DRAFTS_OF_OTHERS = frozenset({"eagle", "eagle2", "medusa", "speculator"})  # llama.cpp has none
_ADAPTER_WORDS = frozenset({"lora", "qlora", "adapter", "adapters"})
_MATRIX_WORDS = frozenset({"imatrix", "imat"})
_MATRIX_SHARE = 20  # an importance matrix is smaller than the weights by more than this


def kinds_of(
    files: Sequence[RepositoryFile], known: Mapping[str, FileKind] | None = None
) -> dict[str, FileKind]:
    """The kind of every GGUF file by its path; `known` is what headers have said."""
    largest = max((file.size for file in files), default=0)
    found = {file.path: _plain_kind(file, largest) for file in files} | dict(known or {})
    candidates = [path for path, kind in found.items() if kind is FileKind.WEIGHTS]
    words = {path: _words(path) for path in candidates}
    common = frozenset.intersection(*words.values()) if words else frozenset()
    for path in candidates:
        if known and path in known:
            continue
        telling = words[path] - common
        if telling & _ADAPTER_WORDS:
            found[path] = FileKind.ADAPTER
        elif telling & _DRAFT_WORDS:
            found[path] = FileKind.DRAFT
    return found


def kind_by_header(start: GGUFStart) -> FileKind:
    """The kind of a file by what its header says of it."""
    if start.type == "mmproj" or start.architecture == "clip":
        return FileKind.PROJECTOR
    if start.type == "adapter":
        return FileKind.ADAPTER
    if start.type == "imatrix":
        return FileKind.MATRIX
    if start.type == "vocab" or start.tensors == 0:
        return FileKind.VOCABULARY
    if frozenset(re.split(r"[-_.]", start.architecture)) & _DRAFT_WORDS:
        return FileKind.DRAFT
    return FileKind.WEIGHTS


def is_usable_draft(path: str) -> bool:
    """Whether llama.cpp drafts with such models, by what a draft's file is called."""
    return not _words(path) & _DRAFTS_OF_OTHERS


def label_in(path: str) -> str | None:
    """The quantisation that a path without its ending states, None where it states none."""
    labels = _LABEL.findall(path.rpartition("/")[2]) or _LABEL.findall(path)
    return str(labels[-1]).upper() if labels else None


def bits_of(label: str) -> float:
    """About how many bits a weight has under a quantisation; 8 where that is not known."""
    if (number := re.search(r"(BF|FP?|Q)(\d+)", label)) is None:
        return 8.0
    bits = int(number[2])
    return min(bits + (0.5 if number[1] == "Q" else 0.0), 32.0) or 8.0


def _plain_kind(file: RepositoryFile, largest: int) -> FileKind:
    """The kind of a file by its own name, without looking at the files beside it."""
    name = file.path.rpartition("/")[2].lower()
    words = _words(name)
    if "mmproj" in name:
        return FileKind.PROJECTOR
    if words & _MATRIX_WORDS:
        # Weights that were made with a matrix say so too, and how they are quantised.
        small = file.size * _MATRIX_SHARE < largest
        if label_in(name.removesuffix(".gguf")) is None or small:
            return FileKind.MATRIX
    return FileKind.VOCABULARY if "vocab" in words else FileKind.WEIGHTS


def _words(path: str) -> frozenset[str]:
    return frozenset(re.split(r"[-._/ ]", path.lower()))


def listed(files: Iterable[RepositoryFile]) -> list[RepositoryFile]:
    """The GGUF files of a listing."""
    return [file for file in files if file.path.lower().endswith(".gguf")]
