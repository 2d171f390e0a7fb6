"""A model's names that a user was not granted, while its engine fails under one that was."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.plain_http import NO_TLS
from tests.support.waiting import wait_for

pytestmark = pytest.mark.engine

LONG = {"prompt": "a", "max_tokens": 2000, "stream": True, "ignore_eos": True}


@pytest.fixture
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with one model under two names; the secret one was asked for first."""
    folder = tmp_path_factory.mktemp("names")
    tiny.write_completion_model(folder / "m.gguf")
    with running(folder / "d") as daemon:
        daemon.import_model(folder / "m.gguf", "secret/falcon")
        daemon.http.post("/models/secret/falcon/tag", params={"repo": "x/pub", "tag": "latest"})
        said = {"model": "secret/falcon", "prompt": "a", "max_tokens": 1}
        daemon.http.post("/v1/completions", json=said).raise_for_status()
        yield daemon


def test_they_are_not_told(daemon: DaemonProcess) -> None:
    """Neither to who asked, nor by what can be looked at."""
    with daemon.stranger(models=["x/*"]) as user:
        with user.stream("POST", "/v1/completions", json={"model": "x/pub", **LONG}) as response:
            assert response.status_code == 200
            lines = response.iter_lines()
            next(lines)
            daemon.engines()[0].kill()
            told = "".join(lines)
        assert "stopped serving the model" in told
        wait_for(
            lambda: any(
                r["failure"] for r in daemon.http.get("/runnerd/overview").json()["runners"]
            ),
            "the failure to be seen",
        )
        seen = [
            told,
            *(
                httpx.get(f"{daemon.address}{path}", headers=user.headers, verify=NO_TLS).text
                for path in (
                    "/engines/ps",
                    "/engines/requests",
                    "/runnerd/overview",
                    "/runnerd/requests?ended=true",
                    "/models",
                    "/v1/models",
                    "/api/ps",
                )
            ),
        ]
        hidden = user.post("/v1/completions", json={"model": "secret/falcon", "prompt": "a"})
        assert hidden.status_code == 404
    assert [text for text in seen if "falcon" in text] == []
