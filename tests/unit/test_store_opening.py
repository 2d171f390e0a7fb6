"""What the store makes of what it finds: leftovers, damage, foreign folders."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from runnerd.errors import InvalidModelFile, StartupError
from runnerd.models.digest import Digest
from tests.support.ggufs import snapshot
from tests.support.stores import add, opened, small


async def test_leftovers_are_swept(tmp_path: Path, real: Path) -> None:
    """All temporary files, and whatever the index does not name, are gone after opening.

    Also one with the number of a living process: it says nothing of who wrote it.
    """
    store = opened(tmp_path / "store")
    await add(store, real, "m")
    root = tmp_path / "store"
    before = snapshot(root)
    (root / "tmp" / "999999999-dead").write_bytes(b"x")
    (root / "tmp" / "stray").mkdir()
    (root / "tmp" / "stray" / "x").write_bytes(b"x")
    (root / "blobs" / "sha256" / ("a" * 64)).write_bytes(b"orphan")
    (root / "manifests" / "sha256" / ("b" * 64)).write_bytes(b"orphan")
    (root / "bundles" / "sha256" / ("c" * 64)).mkdir()
    (root / "tmp" / f"{os.getppid()}-live").write_bytes(b"x")
    opened(root)
    assert snapshot(root) == before


def test_foreign_folders_are_refused(tmp_path: Path) -> None:
    """A folder with other files, another layout or a damaged guard is left as it is."""
    (tmp_path / "thesis.txt").write_text("mine")
    before = snapshot(tmp_path)
    with pytest.raises(StartupError, match="no model store"):
        opened(tmp_path)
    assert snapshot(tmp_path) == before
    for content, reason in ((b'{"version":"2.0.0"}', "upgrade"), (b"{", "damaged")):
        root = tmp_path / reason
        root.mkdir()
        (root / "layout.json").write_bytes(content)
        with pytest.raises(StartupError, match=reason):
            opened(root)
    with pytest.raises(StartupError, match="cannot be used"):
        opened(tmp_path / "thesis.txt" / "store")


async def test_damage_is_kept_and_told(tmp_path: Path, real: Path, folder: Path) -> None:
    """A model whose blob is damaged stays in the index, says so when used, and can be removed."""
    store = opened(tmp_path / "store")
    await add(store, real, "m")
    await add(store, small(folder / "good.gguf"), "good")
    weights = store.resolve("m").weights
    weights.chmod(0o600)
    os.truncate(weights, 100)
    store = opened(tmp_path / "store")
    assert [model.tags for model in store.list()] == [("ai/good:latest",)]
    for use in (store.get, store.resolve):
        with pytest.raises(InvalidModelFile, match="is damaged"):
            use("m")
    assert store.names.remove("m")[0] == ("Untagged", "ai/m:latest")
    assert store.resolve("good").weights.exists()


async def test_a_changed_manifest_is_damage(tmp_path: Path, real: Path) -> None:
    """A manifest that does not match its id is not believed, and its blobs are not thrown away."""
    store = opened(tmp_path / "store")
    id = await add(store, real, "m")
    manifest = tmp_path / "store" / "manifests" / "sha256" / id.hex
    manifest.write_bytes(b"{}")
    usage = len(list((tmp_path / "store" / "blobs" / "sha256").iterdir()))
    store = opened(tmp_path / "store")
    with pytest.raises(InvalidModelFile):
        store.get("m")
    assert len(list((tmp_path / "store" / "blobs" / "sha256").iterdir())) == usage


async def test_a_lost_index_comes_back_without_tags(tmp_path: Path, real: Path) -> None:
    """Without its index a store has its models by id; a damaged index is never guessed at."""
    store = opened(tmp_path / "store")
    id = await add(store, real, "m")
    index = tmp_path / "store" / "index.json"
    index.write_bytes(b"{ damaged")
    with pytest.raises(StartupError, match="move it away"):
        opened(tmp_path / "store")
    index.unlink()
    store = opened(tmp_path / "store")
    assert store.get(str(id)).tags == ()
    assert store.resolve(str(id)).weights.read_bytes() == real.read_bytes()


async def test_an_old_description_is_made_again(tmp_path: Path, real: Path) -> None:
    """A description that is missing or from another version is drawn from the file again."""
    store = opened(tmp_path / "store")
    await add(store, real, "m")
    description = store.resolve("m").weights.with_name("description.json")
    for content in (None, b"{}", b'{"version":0,"description":{}}'):
        description.unlink()
        if content is not None:
            description.write_bytes(content)
        assert opened(tmp_path / "store").get("m").capabilities == ("completion",)
        assert description.stat().st_size > 100


async def test_names_of_an_older_store_get_their_one_spelling(tmp_path: Path) -> None:
    """Of two models with one name the one has it that has it in that spelling, else the first."""
    root = tmp_path / "store"
    store = opened(root)
    a = await add(store, small(tmp_path / "a.gguf", "a"), "a")
    b = await add(store, small(tmp_path / "b.gguf", "b"), "b")
    index = root / "index.json"
    document = json.loads(index.read_bytes())
    spelled = "huggingface.co/org/m:latest"
    for tags, owner in (
        ({a: ["www.huggingface.co/org/m:latest"], b: [spelled]}, b),
        ({a: ["hf.co/org/M", spelled], b: ["www.hf.co/org/m"]}, a),
        ({a: ["hf.co/org/M"], b: ["www.hf.co/org/m"]}, None),
    ):
        for line in document["models"]:
            line["tags"] = tags[Digest.parse(line["id"])]
        index.write_text(json.dumps(document))
        again = opened(root)
        assert [each.tags for each in again.list() if each.tags] == [(spelled,)]
        first = Digest.parse(document["models"][0]["id"])
        assert again.get("hf.co/Org/M").id == (owner or first)
