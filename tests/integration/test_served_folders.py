"""`model_dirs` under a running daemon: models are there while their files are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import running
from tests.support.ggufs import snapshot
from tests.support.waiting import wait_for

pytestmark = pytest.mark.engine

_DEMO = Path(__file__).parents[2] / "demo" / "demo-a.gguf"


def test_a_folder_is_served_in_place(tmp_path: Path) -> None:
    """Named in the settings at a SIGHUP; asked, moved, gone and back; never touched."""
    folder, file = tmp_path / "theirs", tmp_path / "runnerd.toml"
    folder.mkdir()
    (folder / "demo-a.gguf").write_bytes(_DEMO.read_bytes())
    (folder / "evil.gguf").symlink_to("/etc/passwd")
    before = snapshot(folder)
    file.touch()
    with running(tmp_path / "daemon", "--config", str(file)) as daemon:

        def status(name: str) -> int:
            return daemon.http.get(f"/models/{name}").status_code

        file.write_text(f'model_dirs = ["{folder}"]\n')
        daemon.reload()
        assert "changed settings: model_dirs" in daemon.text()
        wait_for(lambda: status("demo-a") == 200, "the model")
        command = [sys.executable, "-m", "runnerd", "--host", f"unix://{daemon.socket}"]
        done = subprocess.run(
            [*command, "run", "demo-a", "What is your name?", "--temperature", "0"],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert done.stdout == "My name is Demo A.\n", done.stderr
        assert [m["runnerd"]["borrowed_bytes"] > 0 for m in daemon.http.get("/models").json()] == [
            True
        ]
        assert snapshot(folder) == before
        (folder / "demo-a.gguf").rename(tmp_path / "away.gguf")
        wait_for(lambda: status("demo-a") == 422, "the file to be missed")
        assert "was moved or changed" in daemon.text()
        (tmp_path / "away.gguf").rename(folder / "demo-a.gguf")
        wait_for(lambda: status("demo-a") == 200, "the file to be back")
