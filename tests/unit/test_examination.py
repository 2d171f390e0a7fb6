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


PICKS = """*--verbosity*--list-devices)
  echo "0.00 I load_backend: loaded RPC backend from /x/libggml-rpc.so"
  echo "0.00 I load_backend: loaded CPU backend from $(dirname "$0")/libggml-cpu-zen4.so" ;;
"""


async def test_the_variant_that_it_picks(tmp_path: Path) -> None:
    """A portable server says it; one without variants is not asked, nor one that could not say."""
    examined, _ = examination(tmp_path, engine_uids="off")
    text = SERVER.replace("--version)", f"{PICKS}--version)", 1)
    telling = text.replace("; --list-devices", "; --list-devices --verbosity")
    assert await variant(examined, server(tmp_path, telling)) == ""
    for name in ("haswell", "zen4"):
        (tmp_path / f"libggml-cpu-{name}.so").touch()
    assert await variant(examined, server(tmp_path, telling)) == "zen4"
    assert await variant(examined, server(tmp_path, text)) == ""
    assert await variant(examined, server(tmp_path, telling.replace("zen4", "../zen4"))) == ""


async def variant(examined: Examination, place: Place) -> str:
    """What it picks, of a server that says which it is."""
    found = await examined.of(place)
    assert isinstance(found, NativeServer)
    assert (", its code for " in found.words) is bool(found.variant)
    return found.variant


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
