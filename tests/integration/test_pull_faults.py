"""Pulls that are shared, left, cancelled, killed, or meet a full disk, through a real daemon."""

from __future__ import annotations

import base64
import json
import os
import random
import re
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_pull_sources import GOOD_CONFIG, layer, manifest
from tests.integration.test_pulls import events
from tests.support.daemon import JSON, DaemonProcess, running
from tests.support.fileserver import FileServer, Seen, answer_with, serving
from tests.support.ggufs import smallest_model
from tests.support.registry import running_registry
from tests.support.waiting import wait_for

MIB = 2**20
_HASHED = "$2b$05$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu"  # bcrypt of "password"
LARGE = smallest_model() + bytes(150 * MIB)


@pytest.fixture
def server() -> Iterator[FileServer]:
    """A registry with one large model, big/model, that can be slowed down."""
    with serving(LARGE) as server:
        digest = f"sha256:{sha256(LARGE).hexdigest()}"
        document = manifest(layer(digest, len(LARGE)))
        for repository in ("model", "twin"):
            server.routes[rf"/v2/big/{repository}/manifests/.*"] = answer_with(
                json.dumps(document).encode()
            )
        config = sha256(GOOD_CONFIG).hexdigest()
        server.routes[rf"/v2/big/.*/blobs/sha256:{config}"] = answer_with(GOOD_CONFIG)
        yield server


def settings(server: FileServer) -> dict[str, str]:
    """Return the environment of a daemon that may use the registry."""
    return {"RUNNERD_INSECURE_REGISTRIES": f'["{server.host}"]'}


@pytest.fixture
def daemon(tmp_path: Path, server: FileServer) -> Iterator[DaemonProcess]:
    """A daemon that may use the registry."""
    with running(tmp_path, env=settings(server)) as daemon:
        yield daemon


class Gate:
    """Holds the server when it has sent `limit` bytes, until `open`."""

    def __init__(self, server: FileServer, limit: int) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()
        self._limit = limit
        server.behaviour.pace = self._pace

    def _pace(self, sent: int) -> None:
        if sent >= self._limit and not self.opened.is_set():
            self.reached.set()
            self.opened.wait(60)

    def open(self) -> None:
        """Let everything through."""
        self.opened.set()


def pull(daemon: DaemonProcess, name: str) -> dict[str, Any]:
    """Pull with a client of its own and return the last line."""
    with daemon.client() as client:
        return events(client.post("/models/create", json={"from": name}))[-1]


def blob_requests(server: FileServer) -> list[str]:
    """Return the ranges of the large blob that were asked for."""
    digest = sha256(LARGE).hexdigest()
    return [seen.range for seen in server.seen if digest in seen.path]


def received(daemon: DaemonProcess) -> int:
    """Return the bytes that the pulls under way have."""
    jobs = daemon.http.get("/models/pulls").json()
    return max((int(job["current"]) for job in jobs), default=0)


def test_two_pulls_of_one_thing_share_one_transfer(
    daemon: DaemonProcess, server: FileServer
) -> None:
    """Twenty clients, and another name of the same files: every byte comes once."""
    gate = Gate(server, 20 * MIB)
    names = [f"{server.host}/big/model:v1"] * 19 + [f"{server.host}/big/twin:v1"]
    with ThreadPoolExecutor(len(names)) as pool:
        results = [pool.submit(pull, daemon, name) for name in names]
        assert gate.reached.wait(30)
        wait_for(
            lambda: len(daemon.http.get("/models/pulls").json()) == 2, "both names to be pulled"
        )
        gate.open()
        assert {result.result()["type"] for result in results} == {"success"}
    assert len(blob_requests(server)) == len(set(blob_requests(server)))
    assert len(daemon.http.get("/models").json()[0]["tags"]) == 2


def test_pull_goes_on_without_its_client(daemon: DaemonProcess, server: FileServer) -> None:
    """The client that asked may leave; the model comes all the same."""
    gate = Gate(server, 20 * MIB)
    name = f"{server.host}/big/model:v1"
    with (
        daemon.client() as client,
        client.stream("POST", "/models/create", json={"from": name}) as response,
    ):
        assert json.loads(next(response.iter_lines()))["type"] == "progress"
        assert gate.reached.wait(30)
    gate.open()
    wait_for(lambda: daemon.http.get(f"/models/{name}").status_code == 200, "the model to come")


def test_broken_connections_are_told_and_mended(daemon: DaemonProcess, server: FileServer) -> None:
    """A line that breaks in the middle is news for who watches, and no failure."""
    server.behaviour.breaks, server.behaviour.break_after = 6, 8 * MIB
    lines = events(daemon.http.post("/models/create", json={"from": f"{server.host}/big/model:v1"}))
    assert lines[-1]["type"] == "success"
    told = [line for line in lines if "trying again" in line["message"]]
    assert told
    assert all(line["layer"]["size"] == 0 for line in told)


def test_pull_is_cancelled_and_taken_up_again(daemon: DaemonProcess, server: FileServer) -> None:
    """A cancelled pull is an error for those who follow it; the next one goes on from there."""
    gate = Gate(server, 80 * MIB)
    name = f"{server.host}/big/model:v1"
    with ThreadPoolExecutor(1) as pool:
        follower = pool.submit(pull, daemon, name)
        assert gate.reached.wait(30)
        wait_for(lambda: received(daemon) > 70 * MIB, "what was sent to arrive")
        (job,) = daemon.http.get("/models/pulls").json()
        assert (job["kind"], job["model"]) == ("pull", name)
        assert daemon.http.delete(f"/models/pulls/{job['id']}").status_code == 200
        assert "cancelled" in follower.result()["message"]
    assert daemon.http.get("/models").json() == []
    assert daemon.http.delete(f"/models/pulls/{job['id']}").status_code == 404
    gate.open()
    before = server.sent
    assert pull(daemon, name)["type"] == "success"
    assert server.sent - before < len(LARGE) - 40 * MIB


def test_resumed_after_kill(tmp_path: Path, server: FileServer) -> None:
    """A daemon that is killed in the middle of a pull fetches at most 64 MiB again."""
    gate = Gate(server, 100 * MIB)
    name = f"{server.host}/big/model:v1"
    with running(tmp_path, env=settings(server)) as daemon:
        with (
            daemon.client() as client,
            client.stream("POST", "/models/create", json={"from": name}) as response,
        ):
            next(response.iter_lines())
            assert gate.reached.wait(30)
            # What the server has sent may still be on its way; that is no loss of the daemon's.
            wait_for(lambda: received(daemon) > 90 * MIB, "bytes to arrive")
            daemon.kill()
    assert list((tmp_path / "state" / "models" / "blobs" / "sha256").iterdir()) == []
    sent = min(server.sent, len(LARGE))
    gate.open()
    server.sent = 0
    with running(tmp_path, env=settings(server)) as daemon:
        assert daemon.http.get("/models").json() == []
        assert pull(daemon, name)["type"] == "success"
        assert server.sent + sent - len(LARGE) <= 64 * MIB


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random(tmp_path: Path, server: FileServer, seed: int) -> None:
    """Wherever the daemon is killed, the next one finds no half model and comes to the end."""
    chance, name = random.Random(seed), f"{server.host}/big/model:v1"
    spent = 0
    for _ in range(3):
        server.sent = 0
        gate = Gate(server, chance.randrange(45 * MIB))
        with running(tmp_path, env=settings(server)) as daemon, daemon.client() as client:
            assert daemon.http.get("/models").json() == []
            with client.stream("POST", "/models/create", json={"from": name}) as response:
                next(response.iter_lines())
                assert gate.reached.wait(30)
                daemon.kill()
        spent += min(server.sent, len(LARGE))
        gate.open()
        server.behaviour.pace = lambda sent: None
    with running(tmp_path, env=settings(server)) as daemon:
        server.sent = 0
        assert pull(daemon, name)["type"] == "success"
    assert spent + server.sent - len(LARGE) <= 3 * 64 * MIB


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a small disk of its own."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("mounting is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk(tmp_path: Path, server: FileServer) -> None:
    """A full disk is a 507 before the first byte, harms nothing, and the pull works afterwards."""
    name = f"{server.host}/big/model:v1"
    with small_disk(tmp_path / "disk", "240m") as disk:
        with running(disk, env=settings(server)) as daemon:
            ballast = disk / "ballast"
            ballast.write_bytes(bytes(100 * MIB))
            response = daemon.http.post("/models/create", json={"from": name}, headers=JSON)
            assert response.status_code == 507
            assert "free" in response.json()["error"]["message"]
            assert blob_requests(server) == []
            ballast.unlink()
            assert pull(daemon, name)["type"] == "success"


def test_quota(tmp_path: Path, server: FileServer, gguf: Path) -> None:
    """The owner's quota is held before the first byte, of a pull and of an import."""
    limited = settings(server) | {"RUNNERD_STORE_QUOTA": str(100 * MIB)}
    with running(tmp_path, env=limited) as daemon:
        response = daemon.http.post("/models/create", json={"from": f"{server.host}/big/model:v1"})
        assert (response.status_code, "store_quota" in response.text) == (507, True)
        large = tmp_path / "large.gguf"
        large.write_bytes(LARGE)
        response = daemon.http.post("/models/import", json={"path": str(large)})
        assert (response.status_code, "store_quota" in response.text) == (507, True)
        daemon.import_model(gguf / "tiny.gguf", "tiny")


def test_pull_while_its_blob_is_deleted(daemon: DaemonProcess, server: FileServer) -> None:
    """Deleting a model while another name of its blobs is pulled takes nothing from that one."""
    name = f"{server.host}/big/model:v1"
    pull(daemon, name)
    release, asked = threading.Event(), threading.Event()
    other = json.dumps({"config": {"format": "gguf", "context_size": 512}}).encode()

    def slow(handler: BaseHTTPRequestHandler) -> None:
        asked.set()
        release.wait(30)
        answer_with(other)(handler)

    changed = {"size": len(other), "digest": f"sha256:{sha256(other).hexdigest()}"}
    document = manifest(layer(f"sha256:{sha256(LARGE).hexdigest()}", len(LARGE)), **changed)
    server.routes = {
        r"/v2/big/other/manifests/.*": answer_with(json.dumps(document).encode()),
        rf"/v2/big/other/blobs/sha256:{sha256(other).hexdigest()}": slow,
        **server.routes,
    }
    before = len(blob_requests(server))
    with ThreadPoolExecutor(1) as pool:
        pulling = pool.submit(pull, daemon, f"{server.host}/big/other:v1")
        assert asked.wait(30)
        assert daemon.http.delete(f"/models/{name}").status_code == 200
        release.set()
        assert pulling.result()["type"] == "success"
    assert len(blob_requests(server)) == before
    assert len(daemon.http.get("/models").json()) == 1


@pytest.mark.parametrize("helper", [False, True])
def test_registry_with_a_password(tmp_path: Path, gguf: Path, helper: bool) -> None:
    """Credentials come from Docker's config file or its helper; without them it is a 401."""
    password, htpasswd = "password", tmp_path / "htpasswd"
    htpasswd.write_text(f"user:{_HASHED}\n")
    auth = f"auth: {{htpasswd: {{realm: test, path: {htpasswd}}}}}\n"
    docker = tmp_path / "docker"
    docker.mkdir()
    with running_registry(tmp_path / "registry", auth=auth) as registry:
        environment = {
            **registry.settings,
            "DOCKER_CONFIG": str(docker),
            "PATH": f"{docker}:{os.environ['PATH']}",
        }
        with running(tmp_path / "daemon", env=environment) as daemon:
            name = f"{registry.host}/private/tiny:v1"
            daemon.import_model(gguf / "tiny.gguf", name)
            response = daemon.http.post(f"/models/{name}/push")
            assert (response.status_code, "docker login" in response.text) == (401, True)
            log_in(docker, registry.host, "user", password, helper=helper)
            assert events(daemon.http.post(f"/models/{name}/push"))[-1]["type"] == "success"
            daemon.http.delete("/models/purge")
            assert pull(daemon, name)["type"] == "success"
            assert password not in daemon.text()


def log_in(folder: Path, host: str, user: str, password: str, *, helper: bool) -> None:
    """Do what `docker login` does."""
    if not helper:
        auth = base64.b64encode(f"{user}:{password}".encode()).decode()
        document: dict[str, object] = {"auths": {host: {"auth": auth}}}
    else:
        document = {"credHelpers": {host: "test"}}
        program = folder / "docker-credential-test"
        response = json.dumps({"ServerURL": host, "Username": user, "Secret": password})
        program.write_text(f"#!/bin/sh\n[ \"$1\" = get ] && cat >/dev/null && echo '{response}'\n")
        program.chmod(0o755)
    (folder / "config.json").write_text(json.dumps(document))


def test_token_flow(daemon: DaemonProcess, server: FileServer) -> None:
    """A token from the registry's own realm is fetched once and used for manifest and blobs."""
    challenge = f'Bearer realm="http://{server.host}/token",service="reg",scope="ignored"'
    inner = dict(server.routes)

    def guarded(handler: BaseHTTPRequestHandler) -> None:
        if handler.headers.get("Authorization") != "Bearer t0ken":
            answer_with(b"", 401, WWW_Authenticate=challenge)(handler)
            return
        for path, route in inner.items():
            if re.fullmatch(path, handler.path):
                route(handler)
                return
        headers = {key.lower(): value for key, value in handler.headers.items()}
        server._serve(handler, headers)

    server.routes = {r"/token\?.*": answer_with(b'{"token":"t0ken"}'), r"/v2/.*": guarded}
    assert pull(daemon, f"{server.host}/big/model:v1")["type"] == "success"
    tokens = [seen.path for seen in server.seen if seen.path.startswith("/token")]
    assert len(tokens) == 1
    assert "scope=repository:big/model:pull" in tokens[0]


def test_registry_that_refuses_every_second_request(
    daemon: DaemonProcess, server: FileServer
) -> None:
    """The first one for the manifest, too: the pull takes longer, and every byte comes once."""
    server.behaviour.every = 2
    server.seen.append(Seen("/", "", {}))  # as if there had been one: the next is refused
    assert pull(daemon, f"{server.host}/big/model:v1")["type"] == "success"
    assert server.refused >= 3


def test_registry_that_allows_one_connection(daemon: DaemonProcess, server: FileServer) -> None:
    """The pull goes on with the one."""
    server.behaviour.at_most = 1
    assert pull(daemon, f"{server.host}/big/model:v1")["type"] == "success"
    assert server.refused
