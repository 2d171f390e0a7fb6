"""A backend that keeps its models itself: a name is an id, and the store is not asked."""

from __future__ import annotations

import pytest

from runnerd.errors import ModelNotFound
from runnerd.models.external import external_model
from runnerd.models.store import Store
from tests.support.external_backend import NAME


def test_its_names_are_ids() -> None:
    """Whatever they look like, and the same object each time."""
    assert str(external_model(NAME).id) == NAME
    assert external_model(NAME) is external_model(NAME)
    assert "completion" in external_model(NAME).capabilities


def test_the_store_has_none_of_them(store: Store) -> None:
    """They are what their engines are started with."""
    assert store.load_of(NAME) == NAME
    with pytest.raises(ModelNotFound):
        store.get(NAME)
