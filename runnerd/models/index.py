"""The store's index file: the models, their tags, and when each blob was last written."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from runnerd.errors import InvalidReference, StartupError
from runnerd.models.borrowed import BorrowedFile
from runnerd.models.digest import Digest
from runnerd.models.layout import Layout
from runnerd.models.reference import Reference
from runnerd.regular import Unusable, read_json

log = logging.getLogger(__name__)


_LATEST = 2**33  # of a time; beyond it are no dates that everybody can show
_MOST_BYTES = 256 * 2**20  # of a file that has some hundred bytes per model


@dataclass(frozen=True, slots=True)
class IndexedModel:
    """A line of the index.  `created` is in unix seconds."""

    id: Digest
    tags: tuple[str, ...]
    created: int


class _Line(msgspec.Struct):
    id: str
    tags: list[str]
    created: int


class _Document(msgspec.Struct):
    models: list[_Line]
    blobs: dict[str, int]  # modification times in ns, by hex digest
    borrowed: dict[str, BorrowedFile] = {}


def read_index(layout: Layout) -> tuple[list[IndexedModel], dict[Digest, int]]:
    """Return the indexed models and the blobs' modification times; `layout` learns what lies
    elsewhere.

    Without an index, every manifest is taken for a model without tags.  Raises errors.StartupError
    for a damaged index: guessing here would lose tags.
    """
    try:
        document = read_json(layout.index, _Document, most=_MOST_BYTES)
        models = _checked(document.models)
        stamps = {Digest(hex): stamp for hex, stamp in document.blobs.items()}
        layout.borrowed = {Digest(hex): file for hex, file in document.borrowed.items()}
    except FileNotFoundError:
        return _from_manifests(layout), {}
    except (Unusable, InvalidReference) as error:
        problem = error.strerror if isinstance(error, Unusable) else f"its content: {error}"
        raise StartupError(
            f"{layout.index} is damaged: {problem}; move it away and start again: the models come"
            " back without their tags"
        ) from error
    except OSError as error:
        raise StartupError(f"{layout.index} cannot be read: {error.strerror}") from error
    return models, stamps


def write_index(
    layout: Layout, models: Iterable[IndexedModel], stamps: Mapping[Digest, int]
) -> None:
    """Replace the index, synced to the disk.  Raises as durable.replace."""
    document = _Document(
        [_Line(str(model.id), [*model.tags], model.created) for model in models],
        {digest.hex: stamp for digest, stamp in stamps.items()},
        {digest.hex: file for digest, file in layout.borrowed.items()},
    )
    layout.write(layout.index, msgspec.json.encode(document))


def _checked(lines: Sequence[_Line]) -> list[IndexedModel]:
    """The models, each name in its one spelling.

    An older runnerd told spellings apart that are one: of two models the one has the name that has
    it in that spelling, else the first.
    """
    exact = {tag for line in lines for tag in line.tags if tag == str(Reference.parse(tag))}
    models, given = [], set[str]()
    for line in lines:
        tags = dict[str, None]()
        for said in line.tags:
            tag = str(Reference.parse(said))
            if tag == said or tag not in exact | given:
                tags[tag] = None
        given |= set(tags)
        created = min(max(0, line.created), _LATEST)
        models.append(IndexedModel(Digest.parse(line.id), tuple(tags), created))
    return models


def _from_manifests(layout: Layout) -> list[IndexedModel]:
    found = []
    for path in sorted(layout.manifests.iterdir()):
        with contextlib.suppress(InvalidReference):
            found.append(IndexedModel(Digest(path.name), (), int(time.time())))
            log.warning("model %s is not in the index and comes back without a tag", path.name)
    return found
