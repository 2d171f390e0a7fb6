"""runnerd.backends.llamacpp.examination: what a server says of itself, and to whom."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runnerd.backends import user_lending
from runnerd.backends.environment import child_environment
from runnerd.backends.llamacpp.examination import Examination
from runnerd.backends.llamacpp.isolation import Isolation
from runnerd.backends.llamacpp.native_server import NativeServer
from runnerd.backends.llamacpp.places import Place
from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.errors import BackendFailure

RANGE = "60870-60879"
SERVER = """#!/bin/sh
case "$*" in
--version) echo "version: 1.2.3 (build 7, commit 0c1e570)" ;;
--help) echo "--host a Unix socket; --list-devices" ;;
--list-devices) echo "Available devices:"
  if [ "$(id -u)" -lt 1000 ]; then echo "  CUDA0: A card (81000 MiB, 80000 MiB free)"; fi ;;
esac
"""


def server(folder: Path, text: str = SERVER) -> Place:
    folder.chmod(0o755)
    path = folder / "llama-server"
    path.write_text(text)
    path.chmod(0o755)
    return Place("path", path)


def examination(folder: Path, **settings: object) -> tuple[Examination, Isolation]:
    isolation = Isolation(LlamaCppSettings.model_validate(settings), folder)
    return Examination(isolation, child_environment, has_cards=True), isolation


async def test_what_it_says(tmp_path: Path) -> None:
    """Its version and options; one that is too old, or does not run, says why."""
    examined, _ = examination(tmp_path, engine_uids="off")
    found = await examined.of(server(tmp_path))
    assert isinstance(found, NativeServer)
    assert (found.version, found.options) == (
        "1.2.3 (0c1e570)",
        frozenset({"--host", "--list-devices"}),
    )
    old = await examined.of(server(tmp_path, SERVER.replace("a Unix socket", "an address")))
    assert isinstance(old, BackendFailure)
    assert "too old" in old.message
    broken = await examined.of(server(tmp_path, "#!/bin/sh\necho no library\nexit 3\n"))
    assert isinstance(broken, BackendFailure)
    assert "does not run (exit status 3): no library" in broken.message


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give users to engines")
async def test_a_card_that_only_root_can_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Engines go on computing on it as the daemon's user, and the log says why."""
    monkeypatch.setattr(user_lending, "device_nodes", list)
    place = server(tmp_path)
    examined, isolation = examination(tmp_path, engine_uids=RANGE, sandbox=False)
    found = await examined.of(place)
    assert isinstance(found, NativeServer)
    assert found.devices == ("CUDA0",)
    assert "no other user can use the GPU" in caplog.text
    monkeypatch.setattr(user_lending, "device_nodes", lambda: ["/dev/null"])
    async with isolation.of(place.path, devices=True) as sandbox:
        assert sandbox is None
    async with isolation.of(place.path, devices=False) as sandbox:
        assert sandbox is not None
        assert sandbox.user is not None
