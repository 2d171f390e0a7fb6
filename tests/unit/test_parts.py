"""The daemon's parts, built together: what is changed in one counts in the others."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from runnerd.access import User
from runnerd.config import Settings
from runnerd.database import Database
from runnerd.errors import Unauthorized
from runnerd.parts import build
from runnerd.relay.peers import Peers
from runnerd.sockets.paths import RuntimeDirectory


async def test_users_count_at_once_and_everything_is_closed(tmp_path: Path) -> None:
    """A key is known as soon as it is there, and no more once it is gone."""
    settings = Settings(state_dir=tmp_path / "state", runtime_dir=tmp_path / "run", listen="")
    settings.state_dir.mkdir()
    directory = RuntimeDirectory(settings.runtime_dir)
    directory.prepare()
    async with contextlib.AsyncExitStack() as stack:
        parts = await build(stack, settings, settings.state_dir, directory, Peers(), None)
        made = await parts.accounts.users.add(User("", "ann"))
        principal = parts.policy.authenticate(made.secret)
        assert principal is not None
        assert principal.user_id == made.user.id
        assert parts.backends.keys() >= {"llama.cpp"}
        await parts.accounts.users.remove("ann")
        with pytest.raises(Unauthorized):
            parts.policy.authenticate(made.secret)
    again = Database(settings.state_dir)
    await again.open()
    assert again.problem is None
    await again.close()
