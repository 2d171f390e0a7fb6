"""How a model is made of another one, or of files that a client sent, and of words about its use.

Nothing is copied: the new model's layers are the blobs that are here, and small new ones for what
is set.  What the base had stays unless it is set anew; parameters are merged, licences and adapters
added.  All or nothing: a failure or a cancellation leaves the store as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from runnerd import threads
from runnerd.errors import ClientError, InvalidModelFile
from runnerd.models.blob_writer import Pending
from runnerd.models.description import quantization, role
from runnerd.models.digest import Digest
from runnerd.models.gguf import read_header
from runnerd.models.gguf_header import GGUFHeader
from runnerd.models.gotemplates.translation import to_jinja
from runnerd.models.gotemplates.tree import TemplateError
from runnerd.models.intake import Fetched
from runnerd.models.manifest import (
    ADAPTER_TYPE,
    GGUF_TYPE,
    LICENSE_TYPE,
    MMPROJ_TYPE,
    TEMPLATE_TYPE,
)
from runnerd.models.model import Model
from runnerd.models.modelfile import (
    GO_TEMPLATE_TYPE,
    MESSAGES_TYPE,
    PARAMETERS_TYPE,
    SYSTEM_TYPE,
    Parameter,
    Remark,
)
from runnerd.models.store import Store
from runnerd.threads import Stop

Quantize = Callable[[Path, Path, str], Awaitable[None]]
"""Writes the weights in the first file to the second, quantized as the text says."""

_PIECE_BYTES = 4 * 2**20
_PRECISE = ("F32", "F16", "BF16")
_TYPES = {"model": GGUF_TYPE, "part": GGUF_TYPE, "mmproj": MMPROJ_TYPE, "adapter": ADAPTER_TYPE}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a model is made of: a `base`, or `files` by their names; and what is set anew.

    `template` is in Jinja's or Go's language.
    """

    base: Model | None = None
    files: Mapping[str, Digest] = field(default_factory=dict)
    adapters: Mapping[str, Digest] = field(default_factory=dict)
    template: str = ""
    system: str = ""
    licenses: tuple[str, ...] = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    messages: tuple[Remark, ...] = ()
    quantization: str = ""


class Creation:
    """Makes one model.  `tell` hears each step in Ollama's words, on the event loop."""

    def __init__(self, store: Store, recipe: Recipe, tell: Callable[[str], None]) -> None:
        self._store = store
        self._recipe = recipe
        self._tell = tell
        self._claimed: list[Digest] = []

    async def run(self, tag: str, quantize: Quantize) -> Model:
        """Make the model and name it `tag`.

        Raises errors.ClientError, NotFound, InvalidModelFile, InsufficientStorage, NotSupported.
        """
        temporary = self._store.entrance.fresh()
        texts = await threads.run(self._texts)
        try:
            files = await self._weights()
            if self._recipe.quantization:
                files = await self._quantized(files, temporary, quantize)
            for file in files:
                self._tell(f"using existing layer {file.pending.digest}")
            added = await threads.run(lambda: [self._new_layer(*layer) for layer in texts])
            for file in added:
                self._tell(f"creating new layer {file.pending.digest}")
            files += added
            self._tell("writing manifest")
            return await threads.run(self._store.entrance.accept, files, manifest=None, tag=tag)
        finally:
            await threads.run_to_end(self._let_go, temporary)

    # files that are here

    async def _weights(self) -> list[Fetched]:
        """Return the base's layers or the files that were sent, and the adapters."""
        recipe = self._recipe
        if recipe.base is None:
            self._tell("parsing GGUF")
        return await threads.run(
            lambda: (
                (
                    [*self._inherited(recipe.base)]
                    if recipe.base is not None
                    else self._sorted(recipe.files, {"model", "part", "mmproj", "adapter"})
                )
                + self._sorted(recipe.adapters, {"adapter"})
            )
        )

    def _inherited(self, base: Model) -> list[Fetched]:
        recipe = self._recipe
        dropped = {
            TEMPLATE_TYPE: recipe.template,
            GO_TEMPLATE_TYPE: recipe.template,
            SYSTEM_TYPE: recipe.system,
            MESSAGES_TYPE: recipe.messages,
            PARAMETERS_TYPE: recipe.parameters,
        }
        return [
            Fetched(layer.digest.short, layer.media_type, self._take(layer.digest))
            for layer in base.manifest.layers
            if not dropped.get(layer.media_type)
        ]

    def _sorted(self, files: Mapping[str, Digest], wanted: set[str]) -> list[Fetched]:
        """Return files by what they turn out to be: the weights in order, then the rest."""
        opened: list[tuple[GGUFHeader, Pending]] = []
        for name, digest in files.items():
            pending = self._take(digest)
            header = read_header(pending.temporary, name)
            if role(header) not in wanted:
                raise InvalidModelFile(f"{name} is no adapter but a {role(header)}")
            opened.append((header, pending))
        order = list(_TYPES)
        opened.sort(key=lambda file: (order.index(_order(file[0])), file[0].number("split.no")))
        return [Fetched(header.name, _TYPES[role(header)], pending) for header, pending in opened]

    def _take(self, digest: Digest) -> Pending:
        self._store.claims.claim(digest)
        self._claimed.append(digest)
        return self._store.entrance.ingredient(digest)

    async def _quantized(
        self, files: list[Fetched], target: Path, quantize: Quantize
    ) -> list[Fetched]:
        """Return the files with the weights made anew."""
        kind = self._recipe.quantization
        weights = [file for file in files if file.media_type == GGUF_TYPE]
        if len(weights) != 1:
            raise ClientError("a split model cannot be quantized; send its weights as one file")
        header = await threads.run(read_header, weights[0].pending.temporary, weights[0].name)
        if (found := quantization([header])) not in _PRECISE:
            raise ClientError(
                f"only {', '.join(_PRECISE)} weights can be quantized, and these are {found}",
                param="quantize",
            )
        self._tell(f"quantizing {found} model to {kind}")
        await threads.run(self._store.room.check_space, weights[0].pending.size)
        await quantize(weights[0].pending.temporary, target, kind)
        made = await threads.run_stoppable(lambda stop: _hashed(target, stop))
        return [Fetched(f"the {kind} weights", GGUF_TYPE, made), *files[1:]]

    # what is set

    def _texts(self) -> list[tuple[str, bytes]]:
        """Return the new layers that hold what is set.  Raises errors.ClientError."""
        recipe = self._recipe
        made: list[tuple[str, bytes]] = []
        if recipe.template:
            made += _template_layers(recipe.template)
        if recipe.system:
            made.append((SYSTEM_TYPE, recipe.system.encode()))
        if recipe.messages:
            made.append((MESSAGES_TYPE, msgspec.json.encode(recipe.messages)))
        if recipe.parameters:
            old = {} if recipe.base is None else recipe.base.description.modelfile.parameters
            merged = {**old, **recipe.parameters}
            made.append((PARAMETERS_TYPE, msgspec.json.encode(merged, order="sorted")))
        return made + [(LICENSE_TYPE, text.encode()) for text in recipe.licenses]

    def _new_layer(self, media_type: str, content: bytes) -> Fetched:
        digest = Digest.of(content)
        self._store.claims.claim(digest)
        self._claimed.append(digest)
        pending = self._store.uploads.keep(content)
        return Fetched(media_type.rpartition(".")[2], media_type, pending)

    def _let_go(self, temporary: Path) -> None:
        temporary.unlink(missing_ok=True)
        while self._claimed:
            self._store.claims.disclaim(self._claimed.pop())


def _template_layers(template: str) -> list[tuple[str, bytes]]:
    """Return a template as the engine takes it, and in Go's language if it was written in that."""
    if "{%" in template:
        return [(TEMPLATE_TYPE, template.encode())]
    try:
        jinja = to_jinja(template)
    except TemplateError as error:
        raise ClientError(
            f"the template cannot be used: {error}; write it in Jinja, or leave it out and take the"
            " one in the weights",
            param="template",
        ) from error
    return [(GO_TEMPLATE_TYPE, template.encode()), (TEMPLATE_TYPE, jinja.encode())]


def _order(header: GGUFHeader) -> str:
    found = role(header)
    return "model" if found == "part" else found


def _hashed(path: Path, stop: Stop) -> Pending:
    hasher, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while piece := file.read(_PIECE_BYTES):
            stop.check()
            hasher.update(piece)
            size += len(piece)
    return Pending(path, Digest(hasher.hexdigest()), size)
