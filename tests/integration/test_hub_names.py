"""A model of Hugging Face has one name, however its hub is called."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from runnerd.models.reference import HUGGING_FACE_NAMES
from tests.integration.test_cli import runnerd
from tests.support.daemon import DaemonProcess, running
from tests.support.hub import HubServer, running_hub

SPELLED = "huggingface.co/org/tiny-gguf"
WAYS = (
    *(f"{name}/org/Tiny-GGUF" for name in HUGGING_FACE_NAMES),
    "HF.co/org/Tiny-GGUF:latest",
    "https://huggingface.co/org/Tiny-GGUF",
)


@pytest.fixture(scope="module")
def hub(gguf: Path) -> Iterator[HubServer]:
    """A hub with one repository."""
    with running_hub({"tiny-Q4_K_M.gguf": (gguf / "tiny.gguf").read_bytes()}) as hub:
        yield hub


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, hub: HubServer) -> Iterator[DaemonProcess]:
    """A daemon that works on no jobs."""
    settings = {
        "RUNNERD_HUB_ENDPOINT": hub.endpoint,
        "RUNNERD_ALLOWED_SOURCES": '["127.0.0.1", "localhost"]',
        "RUNNERD_JOBS": '{"at_once": 0}',
    }
    with running(tmp_path_factory.mktemp("names"), env=settings) as daemon:
        yield daemon


def test_one_model_in_every_spelling(daemon: DaemonProcess) -> None:
    """For pulls, lists, tags, jobs, sessions, grants and removal."""
    for number, way in enumerate(WAYS):
        status, out, err = runnerd(daemon, "pull", way)
        assert (status, out.strip().endswith(f": {SPELLED}")) == (0, True), err
        name = way.removeprefix("https://")
        assert runnerd(daemon, "tag", way, name, "--force")[1].strip() == SPELLED
        [model] = daemon.http.get("/models").json()
        assert model["tags"] == [f"{SPELLED}:latest"]
        assert daemon.http.get(f"/models/{quote(way, safe='')}").json() == model

        [job] = daemon.http.post("/runnerd/jobs", json={"model": way, "prompt": "Hi"}).json()
        assert job["model"] == SPELLED
        session = daemon.http.post("/runnerd/sessions", json={"model": way}).json()
        assert session["model"] == SPELLED
        listed = daemon.http.get("/runnerd/jobs", params={"model": way}).json()
        assert len(listed) == number + 1

        pattern = way.rpartition("/")[0] + "/*"
        with daemon.stranger(f"user{number}", models=[pattern]) as stranger:
            granted = stranger.get("/v1/models").json()["data"]
            assert [each["id"] for each in granted] == [f"{SPELLED}:latest"]
            assert stranger.get(f"/v1/models/{quote(way, safe='')}").status_code == 200
        assert runnerd(daemon, "rm", way)[1].splitlines()[0] == f"Untagged: {SPELLED}"
    [queue] = daemon.http.get("/runnerd/queues").json()
    assert (queue["model"], queue["queued"]) == (SPELLED, len(WAYS))
