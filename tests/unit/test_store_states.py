"""Any sequence of changes leaves the store as a dictionary of tags says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runnerd.errors import Conflict, ModelNotFound
from runnerd.models.digest import Digest
from tests.support.stores import add, opened, small


class StoreMachine(RuleBasedStateMachine):
    """Any sequence of imports, tags, removals and restarts agrees with a dictionary of tags."""

    tags = st.sampled_from(["a", "b", "org/a:x", "c"])
    contents = st.sampled_from("tuv")

    def __init__(self) -> None:
        super().__init__()
        self.home = TemporaryDirectory()
        self.root = Path(self.home.name)
        self.store = opened(self.root / "store")
        self.expected: dict[str, Digest] = {}
        self.ids: set[Digest] = set()

    def teardown(self) -> None:
        """Remove the folder."""
        self.home.cleanup()

    @rule(content=contents, tag=tags)
    def take_in(self, content: str, tag: str) -> None:
        """Import one of three models."""
        id = asyncio.run(add(self.store, small(self.root / "x.gguf", content), tag))
        self.ids.add(id)
        self.expected[self.canonical(tag)] = id

    @rule(known=tags, wanted=tags)
    def set_tag(self, known: str, wanted: str) -> None:
        """Tag what may or may not be there."""
        try:
            id = self.store.get(known).id
        except ModelNotFound:
            with pytest.raises(ModelNotFound):
                self.store.names.tag(known, wanted)
            return
        self.store.names.tag(known, wanted)
        self.expected[self.canonical(wanted)] = id

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def remove_tag(self, data: st.DataObject) -> None:
        """Remove a tag; a model goes with its last one."""
        tag = data.draw(st.sampled_from(sorted(self.expected)))
        id = self.expected.pop(tag)
        done = self.store.names.remove(tag)
        assert done[0] == ("Untagged", tag)
        last = id not in self.expected.values()
        assert (("Deleted", str(id)) in done) == last
        if last:
            self.ids.discard(id)

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), force=st.booleans())
    def remove_id(self, data: st.DataObject, force: bool) -> None:
        """Remove a model by its id."""
        id = data.draw(st.sampled_from(sorted(self.ids)))
        several = sum(other == id for other in self.expected.values()) > 1
        try:
            self.store.names.remove(id.short, force=force)
        except Conflict:
            assert several
            assert not force
            return
        assert force or not several
        self.ids.discard(id)
        self.expected = {tag: other for tag, other in self.expected.items() if other != id}

    @rule()
    def reopen(self) -> None:
        """Start again from the disk."""
        self.store = opened(self.root / "store")

    @invariant()
    def agrees(self) -> None:
        """Tags, ids, files and blobs on disk are what they should be."""
        models = self.store.list()
        assert {tag: model.id for model in models for tag in model.tags} == self.expected
        assert {model.id for model in models} == self.ids
        wanted = {layer.digest.hex for model in models for layer in model.manifest.blobs}
        blobs = self.root / "store" / "blobs" / "sha256"
        assert {path.name for path in blobs.iterdir()} == wanted
        for model in models:
            assert self.store.resolve(str(model.id)).weights.stat().st_size == model.size_bytes

    @staticmethod
    def canonical(tag: str) -> str:
        """Return the full form of one of `tags`."""
        return tag if "/" in tag else f"ai/{tag}:latest"


StoreMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=20)
TestStoreMachine = StoreMachine.TestCase
