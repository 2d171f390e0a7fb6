"""The content-addressed store of models: what there is, and where its files are.

What comes in comes through `entrance`, what models are called and their removal is `names`.

The order of writing makes every crash harmless: blobs, then the bundle, then the manifest, then
the index, each complete and synced before the next; removal goes the other way.  What the index
does not name is not there, and `open` removes it.

One process owns a store.  Changes are made under a lock, in whatever thread; readers use the
current `Catalog`, which is replaced as a whole, so `get` is safe and quick on the event loop at
any time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from runnerd.backends.model_files import ModelFiles
from runnerd.durable import storage_errors
from runnerd.errors import InvalidModelFile, InvalidReference, ModelNotFound
from runnerd.models import bundle
from runnerd.models.borrowed import BorrowedFile
from runnerd.models.catalog import Catalog, shown
from runnerd.models.claims import BlobClaims
from runnerd.models.digest import Digest
from runnerd.models.entrance import Entrance
from runnerd.models.layout import STORE, Layout
from runnerd.models.ledger import Ledger
from runnerd.models.leftovers import Leftovers, at_leisure
from runnerd.models.model import Model
from runnerd.models.modelpack_writing import Form
from runnerd.models.names import Names
from runnerd.models.packing import Packed, pack_blobs
from runnerd.models.parts_folder import sweep
from runnerd.models.room import Room
from runnerd.models.store_scan import look_again, small_layers
from runnerd.models.uploads import AGE as _UPLOAD_AGE
from runnerd.models.uploads import Uploads

_PART_AGE = 7 * 86400.0  # seconds; nobody takes such a pull up again

Models = list[Model]
Texts = list[str]


class Store:
    """All models of a host.  `open` comes first; then every method may be called at any time.

    `entrance` takes models in, `names` names and removes them, `claims` keeps blobs from being
    removed, `room` knows whether there is space, `uploads` is what was sent and is no model yet.
    """

    def __init__(self, root: Path, *, quota_bytes: int | None = None) -> None:
        self._layout = Layout(root)
        self._lock = lock = threading.RLock()
        self._ledger = ledger = Ledger(self._layout)
        self.latest: Callable[[], Catalog] = partial(getattr, ledger, "catalog")
        """What returns `catalog`, quicker: it is asked at each request."""
        self.claims = claims = BlobClaims(self._layout, ledger, lock)
        self._leftovers = leftovers = Leftovers(self._layout, ledger, claims.digests)
        self.room = room = Room(self._layout, ledger, lock, quota_bytes=quota_bytes)
        self.uploads = uploads = Uploads(self._layout, room.check_growth, claims.digests)
        self.entrance = Entrance(
            self._layout,
            ledger,
            lock,
            claims=claims,
            leftovers=leftovers,
            room=room,
            uploads=uploads,
        )
        self.names = Names(
            self._layout, ledger, lock, leftovers=leftovers, room=room, uploads=uploads
        )

    def open(self) -> None:
        """Make or read the store and remove what an interrupted change left.

        Quick for an undamaged store (it compares sizes and times, not content).  Blocks; a model
        whose files are damaged is kept and reported when it is used.  Raises errors.StartupError.
        """
        with self._lock:
            self._layout.create()
            complete = self._ledger.open()
            # What cannot be tidied or written is no reason not to serve what is there.
            with at_leisure("leftovers stay"):
                self._leftovers.remove()
            with at_leisure("parts of old pulls stay"):
                sweep(self._layout, age=_PART_AGE)
            with at_leisure("old uploads stay"):
                self.uploads.sweep(age=_UPLOAD_AGE)
            if not complete:
                with at_leisure("what was found in the store is not written down"):
                    self._ledger.save(at_any_rate=True)
            self._layout.hold_space()

    def tell_of_changes(self, changed: Callable[[], None]) -> None:
        """Have somebody told, too, whenever there are other models; called in any thread."""
        before = self._ledger.changed

        def tell() -> None:
            before()
            changed()

        self._ledger.changed = tell

    @property
    def catalog(self) -> Catalog:
        """All models as they are now."""
        return self._ledger.catalog

    # looking up

    def list(self) -> Models:
        """Return all usable models, newest first."""
        return self.catalog.models()

    def get(self, text: str) -> Model:
        """Return the model that a reference, an id or the last part of a name means.

        Raises errors.ModelNotFound, InvalidModelFile when its files are damaged.
        """
        return self.catalog.get(text)

    def identify(self, text: str) -> Digest:
        """Return the id of what `text` names, for damaged models too.

        Raises errors.ModelNotFound.
        """
        return self.catalog.find(text).id

    def id_of(self, name: str) -> str | None:
        """The id of the model that a name means, None where there is none."""
        try:
            return str(self.identify(name))
        except ModelNotFound:
            return None

    def has(self, id: str) -> bool:
        """Say whether there is a model with this id, damaged or not."""
        return Digest.parse(id) in self.catalog.entries

    def load_of(self, id: str) -> str:
        """What a model's engine is started with; a damaged model's is its id, and so is that of a
        model that is none of the store's.
        """
        try:
            entry = self.catalog.entries.get(Digest.parse(id))
        except InvalidReference:
            return id
        return id if entry is None or entry.model is None else entry.model.load

    def loaded_as(self, load: str) -> Texts:
        """Return the ids of the models whose engines are started with the same."""
        return [str(model.id) for model in self.catalog.loaded_as(load)]

    def resolve(self, model: str) -> ModelFiles:
        """Return where the files of a model or a load are, having checked that they did not change.

        Blocks for a few stat calls.  Raises errors.ModelNotFound, InvalidModelFile.
        """
        sharing = self.catalog.loaded_as(model)
        found = sharing[0] if sharing else self.get(model)
        for layer in found.manifest.layers:
            stamp = self._ledger.stamps.get(layer.digest)
            if not self._layout.has_intact(layer.digest, layer.size, stamp):
                name = found.name if sharing else model  # a load has none that anybody knows
                raise InvalidModelFile(self._changed(name, layer.digest))
        if not bundle.is_complete(self._layout, found.manifest):
            with self._lock, storage_errors(STORE):  # a commit holds it while the disk syncs
                bundle.ensure_bundle(self._layout, found.manifest, found.description)
        files = bundle.bundle_files(self._layout, found.manifest, found.description)
        return replace(files, load=found.load)

    def _changed(self, model: str, digest: Digest) -> str:
        borrowed = self._layout.borrowed.get(digest)
        if borrowed is None:
            what = f"a file of model {shown(model)} was changed or removed after its import"
            return f"{what}; import it again"
        return (
            f"the file {borrowed.path} of model {shown(model)} was moved or changed; put it back,"
            " or import it from where it is now"
        )

    def borrowed(self, model: Model) -> dict[str, int]:
        """The paths and sizes of the files that a model uses and the store does not have."""
        files = (self._layout.borrowed.get(layer.digest) for layer in model.manifest.layers)
        return {file.path: file.size for file in files if file is not None}

    def borrowed_bytes(self) -> int:
        """The bytes of all borrowed files."""
        return sum(file.size for file in self._layout.borrowed.values())

    def move_borrowed(self, moved: Mapping[str, BorrowedFile]) -> None:
        """Follow files that their owner has moved, from the paths where they were.  Blocks."""
        with self._lock:
            self._ledger.settle()
            self._layout.borrowed = {
                digest: moved.get(file.path, file) for digest, file in self._layout.borrowed.items()
            }
            self._ledger.save()

    def check_borrowed(self) -> None:
        """Find out which models can be used, of those whose files somebody has put elsewhere.

        One whose file was moved or changed is damaged until it is back; each is told once.  Blocks
        for a stat call per file.
        """
        with self._lock:
            entries = list(self.catalog.entries.values())
            looked_at = [look_again(self._layout, self._ledger.stamps, entry) for entry in entries]
            if looked_at != entries:
                self._ledger.change(looked_at)

    def disk_usage(self) -> int:
        """Return the bytes that the models occupy; what two models share counts once.  Blocks.

        Uploads count too: they are models to be.
        """
        return self.room.usage()

    def texts(self, model: Model, media_type: str) -> Texts:
        """Return the contents of a model's small layers of one type.  Raises OSError; blocks."""
        return small_layers(self._layout, model.manifest, media_type)

    def pack(self, text: str, form: Form = "docker") -> Packed:
        """Return a model as a tar archive: in Docker Model Runner's form, or an OCI image layout
        with a ModelPack model.  Raises as `get`, and as `pack_blobs`.
        """
        return pack_blobs(self.get(text), self._layout.content, form)
