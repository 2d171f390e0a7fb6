"""Engines that this processor does not run: what the daemon says, and what it does instead."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from runnerd.backends.llamacpp import places
from runnerd.models import tiny
from tests.support.builds import real_server
from tests.support.daemon import DaemonProcess, running

pytestmark = pytest.mark.long

NAME = "vulkan"  # none of those that tests run on
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}


def engine(daemon: DaemonProcess, condition: str) -> Path:
    """Put an engine into the daemon's state directory that dies with a model on a condition."""
    server = places.server_in(daemon.state_dir / "engines", NAME)
    server.parent.mkdir(parents=True, exist_ok=True)
    server.write_text(
        f'#!/bin/sh\ncase "$*" in {condition}) kill -ILL $$;; esac\n'
        f'exec {shlex.quote(str(real_server()))} "$@"\n'
    )
    server.chmod(0o755)
    return server


def test_a_moved_engine(tmp_path: Path) -> None:
    """The first load says what to do, nothing is started again and again, and doing it helps."""
    tiny.write_completion_model(tmp_path / "tiny.gguf")
    env = {"RUNNERD_BACKENDS": json.dumps({"llama.cpp": {"server": NAME, "threads": 1}})}
    daemon = DaemonProcess(tmp_path / "d", env)
    try:
        server = engine(daemon, "*--model*")
        # What is known of it from where it ran.
        known = {"elsewhere": {"state": "works", "reason": "", "signal": "", "flags": []}}
        (server.parent / ".trials.json").write_text(json.dumps(known))
        daemon.start()
        daemon.import_model(tmp_path / "tiny.gguf", "tiny")
        for _ in range(2):
            response = daemon.http.post("/v1/chat/completions", json=CHAT)
            assert response.status_code == 502
            message = response.json()["error"]["message"]
            assert "was built for another processor" in message
            assert "runnerd install llama.cpp --rebuild" in message
        status = daemon.http.get("/engines/status").json()["llama.cpp"]
        assert status.startswith("Error: ")
        assert "--rebuild" in status
        assert daemon.text().count("trying") == 1
        engine(daemon, "never")  # as the rebuild does
        daemon.http.post("/engines/unload", json={"all": True})
        assert daemon.http.post("/models/tiny/load", json={}).status_code in (200, 404)
        response = daemon.http.post("/v1/chat/completions", json=CHAT)
        assert response.status_code == 200, response.text
    finally:
        daemon.close()


def test_without_rearranged_weights(tmp_path: Path) -> None:
    """Where only the code for rearranged weights ends it, it serves without, and says so."""
    tiny.write_completion_model(tmp_path / "tiny.gguf")
    env = {"RUNNERD_BACKENDS": json.dumps({"llama.cpp": {"server": NAME, "threads": 1}})}
    daemon = DaemonProcess(tmp_path / "d", env)
    try:
        server = engine(daemon, "*--no-repack*) ;; *--model*")
        assert server.exists()
        daemon.start()
        daemon.import_model(tmp_path / "tiny.gguf", "tiny")
        response = daemon.http.post("/v1/chat/completions", json=CHAT)
        assert response.status_code == 200, response.text
        status = daemon.http.get("/engines/status").json()["llama.cpp"]
        assert "only runs with --no-repack on this processor" in status
    finally:
        daemon.close()


def test_one_model_on_another_engine(tmp_path: Path) -> None:
    """A model's configuration chooses among the engines that are here."""
    tiny.write_completion_model(tmp_path / "tiny.gguf")
    with running(tmp_path / "d") as daemon:
        server = engine(daemon, "never")
        daemon.import_model(tmp_path / "tiny.gguf", "tiny")
        document = {"model": "tiny", "engine": NAME}
        assert daemon.http.post("/engines/_configure", json=document).status_code == 202
        assert daemon.http.post("/v1/chat/completions", json=CHAT).status_code == 200
        assert f"starting {server}" in daemon.text()
        document = {"model": "tiny", "engine": "rocm"}
        daemon.http.post("/engines/unload", json={"all": True})
        response = daemon.http.post("/engines/_configure", json=document)
        assert response.status_code == 400
        assert "there is no engine 'rocm'" in response.text
