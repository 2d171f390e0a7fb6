"""Commands for several things do all or nothing, as far as that can be known at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_cli import runnerd
from tests.support.daemon import DaemonProcess, running

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with an empty store."""
    with running(tmp_path_factory.mktemp("all")) as daemon:
        yield daemon


def test_models(daemon: DaemonProcess, gguf: Path) -> None:
    """Where one of several names cannot be right, nothing is done with the others either."""
    assert runnerd(daemon, "import", str(gguf / "tiny.gguf"), "--tag", "mine")[0] == 0
    assert runnerd(daemon, "tag", "mine", "other")[0] == 0
    code, out, errors = runnerd(daemon, "push", "mine", "localhost:1/x/y")
    assert (code, out) == (1, "")
    assert "model 'localhost:1/x/y' not found" in errors
    assert "nothing was pushed" in errors
    assert "`runnerd tag MODEL REGISTRY/NAME`" in errors
    for command in (("rm", "other", "nothing"), ("rm", "--force", "other", "nothing")):
        code, out, errors = runnerd(daemon, *command)
        assert (code, out, "nothing was removed" in errors) == (1, "", True)
    code, _, errors = runnerd(daemon, "pull", "localhost:1/x/y", "b c")
    assert (code, "'b c'" in errors, "localhost" in errors) == (1, True, False), errors
    assert len(json.loads(runnerd(daemon, "ls", "--json")[1])[0]["tags"]) == 2
    assert runnerd(daemon, "rm", "other", "mine")[0] == 0


def test_sessions_and_jobs(daemon: DaemonProcess, gguf: Path) -> None:
    """Those that are there stay as they are beside one that is not."""
    assert runnerd(daemon, "import", str(gguf / "tiny.gguf"), "--tag", "mine")[0] == 0
    made = daemon.http.post("/runnerd/sessions", json={"model": "mine", "name": "trip"})
    assert made.status_code < 300, made.text
    code, out, errors = runnerd(daemon, "session", "rm", "trip", "nowhere")
    assert (code, out, "nothing was removed" in errors) == (1, "", True), errors
    assert [s["name"] for s in daemon.http.get("/runnerd/sessions").json()] == ["trip"]
    assert runnerd(daemon, "session", "rm", "trip")[0] == 0
    [job] = json.loads(runnerd(daemon, "submit", "mine", "Hello", "--max-tokens", "1", "--json")[1])
    for other in ("f" * 32, "zzz"):
        code, out, errors = runnerd(daemon, "jobs", "rm", job["id"], other)
        assert (code, out) == (1, ""), errors
    assert daemon.http.get(f"/runnerd/jobs/{job['id']}").status_code == 200
    assert runnerd(daemon, "rm", "--force", "mine")[0] == 0
