"""Who may use a runner's own socket."""

from __future__ import annotations

from pathlib import Path

import pytest

from runnerd.access import (
    Directory,
    Key,
    Permission,
    Rules,
    User,
    local_principal,
    owner_principal,
)
from runnerd.access.users import key_digest
from runnerd.errors import ModelNotFound, PermissionMissing, Unauthorized
from runnerd.models import tiny
from runnerd.models.store import Store
from runnerd.relay.engine_admission import EngineAdmission

SECRET = "s" * 43
KEY = [(b"authorization", b"Bearer " + SECRET.encode())]


@pytest.fixture
async def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "models")
    store.open()
    tiny.write_completion_model(tmp_path / "one.gguf")
    await store.entrance.import_files([tmp_path / "one.gguf"], tag="ai/one")
    return store


def admission(store: Store, user: User | None = None) -> EngineAdmission:
    rules = Rules(lambda: 0.0)
    if user is not None:
        rules.adopt(Directory((user,), (Key("k", user.id, key_digest(SECRET), 0.0),)))
    return EngineAdmission(
        store, rules, lambda uid: owner_principal(0) if uid == 0 else local_principal(uid)
    )


async def test_peers(store: Store) -> None:
    """The owner may, another user of the host may not past the relay."""
    load = store.get("one").load
    admission(store)(load, 0, [])
    with pytest.raises(PermissionMissing, match="bare_model"):
        admission(store)(load, 1000, [])


async def test_keys(store: Store) -> None:
    """A key counts whoever has connected; it takes bare_model, on a model of the grants."""
    load, id = store.get("one").load, str(store.get("one").id)
    may = frozenset({Permission.BARE_MODEL})
    for model in (load, id):
        admission(store, User("u", "ann", may))(model, 1000, KEY)
        admission(store, User("u", "ann", may, models=("ai/*",)))(model, 1000, KEY)
        with pytest.raises(ModelNotFound):
            admission(store, User("u", "ann", may, models=("team/*",)))(model, 0, KEY)
    with pytest.raises(PermissionMissing):
        admission(store, User("u", "ann"))(load, 0, KEY)
    with pytest.raises(Unauthorized):
        admission(store)(load, 0, KEY)
    with pytest.raises(ModelNotFound):
        admission(store, User("u", "ann", may, models=("ai/*",)))("of a backend", 0, KEY)
