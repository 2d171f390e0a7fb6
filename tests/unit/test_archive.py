"""Archives in and out: what is written can be read, and nothing hostile gets through."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runnerd.errors import InvalidModelFile
from runnerd.models import tiny
from runnerd.models.digest import Digest
from runnerd.models.intake import Progress
from runnerd.models.manifest import CONFIG_TYPE, GGUF_TYPE
from runnerd.models.packing import pack_files
from runnerd.models.store import Store
from tests.support.ggufs import projector, smallest_model, snapshot

COVERS = ("runnerd.models.packing",)

Edit = Callable[[tarfile.TarInfo], None]


async def pieces(content: bytes, size: int = 50_000) -> AsyncIterator[bytes]:
    """Yield `content` as a connection would."""
    for place in range(0, len(content), size):
        yield content[place : place + size]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    store = Store(tmp_path / "store")
    store.open()
    return store


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file."""
    path = tmp_path_factory.mktemp("model") / "tiny-F32.gguf"
    tiny.write_embedding_model(path)
    return path


def build(
    *entries: tuple[str, bytes], edit: Edit | None = None, form: int = tarfile.PAX_FORMAT
) -> bytes:
    """Write a tar with these entries; `edit` may spoil each head."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if edit:
                edit(info)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def manifest_of(config: bytes, *layers: bytes, kind: str = GGUF_TYPE, **changes: object) -> bytes:
    """Write a manifest for these contents."""

    def entry(content: bytes, media_type: str) -> dict[str, object]:
        return {
            "mediaType": media_type,
            "size": len(content),
            "digest": str(Digest.of(content)),
        }

    document: dict[str, object] = {
        "schemaVersion": 2,
        "config": entry(config, CONFIG_TYPE),
        "layers": [entry(layer, kind) for layer in layers],
    }
    return msgspec.json.encode(document | changes)


def blob(content: bytes) -> tuple[str, bytes]:
    """Return a blob's entry."""
    return f"blobs/sha256/{Digest.of(content).hex}", content


async def test_what_is_packed_can_be_loaded(store: Store, model: Path, tmp_path: Path) -> None:
    """A local file packed without a store is, once loaded, the model that an import makes of it."""
    with await pack_files([model]) as packed:
        content = b"".join([chunk async for chunk in packed.chunks()])
        assert len(content) == packed.size
        assert str(packed.default_tag) == "ai/tiny:f32"
    assert tarfile.open(fileobj=io.BytesIO(content)).getnames()[-1] == "manifest.json"
    loaded = await store.entrance.load_archive(pieces(content))
    assert loaded.tags == ()
    assert loaded.id == packed.id
    other = Store(tmp_path / "other")
    other.open()
    imported = await other.entrance.import_files([model], tag=None)
    assert imported.id == loaded.id
    assert store.resolve(str(loaded.id)).weights.read_bytes() == model.read_bytes()


async def test_a_split_model_with_everything(store: Store, tmp_path: Path) -> None:
    """Shards, projector and template survive the way through an archive, under the right names."""
    shards = tiny.write_sharded_model(tmp_path)
    (tmp_path / "mmproj.gguf").write_bytes(projector())
    (tmp_path / "t.jinja").write_text("{{ tools }}")
    with await pack_files(
        shards[:1], mmproj=tmp_path / "mmproj.gguf", chat_template=tmp_path / "t.jinja"
    ) as packed:
        loaded = await store.entrance.load_archive(packed.chunks())
    files = store.resolve(str(loaded.id))
    assert files.weights.name == "model-00001-of-00003.gguf"
    assert [p.read_bytes() for p in sorted(files.weights.parent.glob("*-of-*"))] == [
        p.read_bytes() for p in shards
    ]
    assert files.mmproj is not None
    assert files.chat_template is not None
    assert files.chat_template.read_text() == "{{ tools }}"
    assert loaded.capabilities == ("completion", "tools", "vision")
    with store.pack(str(loaded.id)) as exported:
        content = b"".join([chunk async for chunk in exported.chunks()])
    assert len(content) == packed.size == exported.size


async def test_progress_is_told(store: Store, model: Path) -> None:
    """The receiver learns how far each blob is, to its end."""
    told: list[Progress] = []
    with await pack_files([model]) as packed:
        await store.entrance.load_archive(packed.chunks(), told.append)
    sizes = {state.layer_size for state in told if state.layer_current == state.layer_size}
    assert model.stat().st_size in sizes


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
async def test_archives_of_other_programs(store: Store, model: Path, form: int) -> None:
    """Every tar dialect is read, with folders, extended headers and a packager's context size."""
    weights = model.read_bytes()
    config = b'{"config":{"format":"gguf","context_size":77},"rootfs":{}}'

    def folders(info: tarfile.TarInfo) -> None:
        info.mtime = 1.5 if form == tarfile.PAX_FORMAT else 1
        if info.name.startswith("blobs") and "/" not in info.name[6:]:
            info.type = tarfile.DIRTYPE

    content = build(
        ("blobs", b""),
        ("blobs/sha256", b""),
        blob(config),
        blob(weights),
        ("manifest.json", manifest_of(config, weights)),
        edit=folders,
        form=form,
    )
    loaded = await store.entrance.load_archive(pieces(content, 333))
    assert loaded.config.context_size == 77
    assert loaded.context_length == 512


CONFIG = b"{}"


def hostile(weights: bytes) -> dict[str, bytes]:
    """Return archives that have to be refused, by what is wrong with them."""
    manifest = ("manifest.json", manifest_of(CONFIG, weights))
    good = (blob(CONFIG), blob(weights), manifest)

    def typed(kind: bytes, target: str = "") -> bytes:
        def edit(info: tarfile.TarInfo) -> None:
            if info.name.endswith(Digest.of(weights).hex):
                info.type, info.linkname, info.size = kind, target, 0

        return build(*good, edit=edit)

    def named(name: str) -> bytes:
        return build((name, b"evil"), *good)

    whole = build(*good)
    text = b"<html>" * 100
    return {
        "empty": b"",
        "no archive": b"GGUF" + bytes(10_000),
        "zeros only": bytes(10_240),
        "dot dot": named("../evil"),
        "dot dot inside": named("blobs/sha256/../../evil"),
        "absolute": named("/tmp/evil"),
        "other folder": named("blobs/sha512/" + "a" * 64),
        "upper case": named("blobs/sha256/" + "A" * 64),
        "short": named("blobs/sha256/abc"),
        "newline": named("blobs/sha256/" + "a" * 64 + "\n"),
        "dot slash": named("./manifest.json"),
        "unicode": named("blobs/sha256/" + "a" * 63 + "\N{FULLWIDTH LATIN SMALL LETTER A}"),
        "symbolic link": typed(tarfile.SYMTYPE, "/etc/passwd"),
        "hard link": typed(tarfile.LNKTYPE, "manifest.json"),
        "device": typed(tarfile.CHRTYPE),
        "pipe": typed(tarfile.FIFOTYPE),
        "folder as blob": typed(tarfile.DIRTYPE),
        "wrong content": build((blob(weights)[0], weights[:-1] + b"x"), blob(CONFIG), manifest),
        "blob twice": build(blob(CONFIG), blob(CONFIG), blob(weights), manifest),
        "manifest twice": build(*good, manifest),
        "no manifest": build(*good[:2]),
        "blob missing": build(blob(CONFIG), manifest),
        "config missing": build(blob(weights), manifest),
        "no json": build(*good[:2], ("manifest.json", b"{")),
        "not an object": build(*good[:2], ("manifest.json", b"[1]")),
        "deep json": build(*good[:2], ("manifest.json", b"[" * 100_000)),
        "huge manifest": build(*good[:2], ("manifest.json", b" " * (5 * 2**20))),
        "evil digest": build(
            *good[:2],
            (
                "manifest.json",
                manifest_of(CONFIG, weights).replace(Digest.of(weights).hex.encode(), b"../../x"),
            ),
        ),
        "wrong size": build(
            *good[:2],
            (
                "manifest.json",
                manifest_of(CONFIG, weights).replace(f"{len(weights)}".encode(), b"1"),
            ),
        ),
        "other media type": build(
            *good[:2], ("manifest.json", manifest_of(CONFIG, weights, kind="application/x"))
        ),
        "other config type": build(
            *good[:2],
            (
                "manifest.json",
                manifest_of(CONFIG, weights).replace(CONFIG_TYPE.encode(), b"application/x"),
            ),
        ),
        "no layers": build(blob(CONFIG), ("manifest.json", manifest_of(CONFIG))),
        "no gguf": build(blob(CONFIG), blob(text), ("manifest.json", manifest_of(CONFIG, text))),
        "config no json": build(
            blob(b"x"), blob(weights), ("manifest.json", manifest_of(b"x", weights))
        ),
        "truncated": whole[: len(whole) // 2],
        "cut in a head": whole[:700],
        "something behind": whole + b"x",
        "flipped bit in a head": whole[:3] + b"\xff" + whole[4:],
        "gzip": b"\x1f\x8b" + whole,
        "many entries": build(*[("blobs/", b"")] * 1200, edit=_folder),
        "huge size": build(blob(weights), edit=_huge),
    }


def _folder(info: tarfile.TarInfo) -> None:
    info.type = tarfile.DIRTYPE


def _huge(info: tarfile.TarInfo) -> None:
    info.pax_headers = {"size": "9" * 30}


NAMES = list(hostile(b"w" * 64))


@pytest.mark.parametrize("name", NAMES)
async def test_hostile_archives_leave_nothing(
    name: str, store: Store, model: Path, tmp_path: Path
) -> None:
    """Each is refused with a reason, and no file is left, in the store or beside it."""
    before = snapshot(tmp_path)
    with pytest.raises(InvalidModelFile) as caught:
        await store.entrance.load_archive(pieces(hostile(model.read_bytes())[name]))
    assert caught.value.message
    assert snapshot(tmp_path) == before
    assert store.list() == []


async def test_a_spoiled_blob_is_named(store: Store, model: Path) -> None:
    """A blob whose content is not what its name says is the reason that is given."""
    with pytest.raises(InvalidModelFile, match="does not match its name"):
        await store.entrance.load_archive(pieces(hostile(model.read_bytes())["wrong content"]))


async def test_a_lost_connection_leaves_nothing(store: Store, model: Path, tmp_path: Path) -> None:
    """When the sender breaks off, its error comes through and what was received is gone."""

    async def broken() -> AsyncIterator[bytes]:
        with await pack_files([model]) as packed:
            sent = 0
            async for chunk in packed.chunks():
                yield chunk
                sent += len(chunk)
                if sent > 100_000:
                    raise ConnectionResetError

    before = snapshot(tmp_path)
    with pytest.raises(ConnectionResetError):
        await store.entrance.load_archive(broken())
    assert snapshot(tmp_path) == before


@settings(max_examples=60)
@given(place=st.integers(0, 3000), change=st.binary(min_size=1, max_size=40))
async def test_spoiled_archives_are_refused_or_right(
    place: int, change: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Changed bytes give a refusal or a model that is what its own manifest says."""
    weights = smallest_model()
    content = bytearray(
        build(
            blob(CONFIG),
            blob(weights),
            ("manifest.json", manifest_of(CONFIG, weights)),
            form=tarfile.USTAR_FORMAT,
        )
    )
    content[place : place + len(change)] = change
    store = Store(tmp_path_factory.mktemp("s") / "store")
    store.open()
    try:
        loaded = await store.entrance.load_archive(pieces(bytes(content)))
    except InvalidModelFile:
        assert store.list() == []
        return
    with tarfile.open(fileobj=io.BytesIO(content)) as spoiled:
        manifest = spoiled.extractfile("manifest.json")
        assert manifest is not None
        assert loaded.id == Digest.of(manifest.read())  # its own, where the manifest still reads
    assert store.resolve(str(loaded.id)).weights.read_bytes() == weights


def layout(*digests: str, manifest: bytes = b"{}") -> bytes:
    """An OCI image layout whose index names these."""
    index = msgspec.json.encode({"manifests": [{"digest": digest} for digest in digests]})
    digest = Digest.of(manifest)
    return build(("index.json", index), (f"blobs/sha256/{digest.hex}", manifest))


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        (layout(), "names 0 models"),
        (layout(str(Digest.of(b"{}")), str(Digest.of(b"x"))), "names 2 models"),
        (layout(str(Digest.of(b"x"))), "lacks the manifest"),
        (layout("sha256:../../etc/passwd"), "index.json cannot be read"),
        (layout("sha512:00"), "index.json cannot be read"),
        (build(("index.json", b"[")), "index.json cannot be read"),
        (build(("index.json", b'{"manifests": [' + b"[" * 5000)), "index.json cannot be read"),
        (layout(str(Digest.of(b" " * 2**23)), manifest=b" " * 2**23), "its manifest has 8388608"),
        (build(("oci-layout", b"{}")), "it has no manifest.json"),
        (build(("index.json", b"{}"), ("index.json", b"{}")), "has no place"),
    ],
)
async def test_layouts_of_something_else(
    store: Store, tmp_path: Path, archive: bytes, said: str
) -> None:
    """What an index says is not believed, and nothing is left of it."""
    before = snapshot(tmp_path)
    with pytest.raises(InvalidModelFile, match=said):
        await store.entrance.load_archive(pieces(archive))
    assert snapshot(tmp_path) == before
