"""Pantry's API through a real daemon, at its own socket and port, with a client like its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.fileserver import FileServer, serving
from tests.support.pantry import PERMISSIONS, ApiError, PantryClient, entry, may
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def server(gguf: Path) -> Iterator[FileServer]:
    """What models are downloaded from."""
    with serving((gguf / "tiny.gguf").read_bytes()) as server:
        yield server


class Pantry:
    """A daemon that listens where Pantry's programs look, as far as a test may say where."""

    def __init__(self, daemon: DaemonProcess, socket: Path) -> None:
        self.daemon = daemon
        # What is listened on last is Pantry's port.
        self.targets: dict[str, Path | str] = {"unix": socket, "tcp": daemon.address}

    def client(self, transport: str, *permissions: str, name: str = "program") -> PantryClient:
        """A client that has registered and was let in; close it."""
        client = PantryClient(self.targets[transport])
        client.register_user(name)
        if permissions:
            asked = client.request("request_permissions", requested_permissions=may(*permissions))
            self.decide(asked, "accept")
        return client

    def decide(self, asked: dict[str, Any], decision: str) -> None:
        """What the owner says."""
        path = f"/runnerd/approvals/{asked['id']}/{decision}"
        self.daemon.http.post(path).raise_for_status()


@pytest.fixture(scope="module")
def pantry(tmp_path_factory: pytest.TempPathFactory, server: FileServer) -> Iterator[Pantry]:
    folder = Path(tempfile.mkdtemp(prefix="pt"))
    socket = folder / "pantrylocal.sock"
    settings = {
        "RUNNERD_PANTRY__ENABLED": "true",
        "RUNNERD_PANTRY__SOCKET": str(socket),
        "RUNNERD_PANTRY__LISTEN": "127.0.0.1:0",
        "RUNNERD_ALLOWED_SOURCES": '["127.0.0.1"]',
    }
    with running(tmp_path_factory.mktemp("pantry"), env=settings) as daemon:
        yield Pantry(daemon, socket)
    assert not socket.exists()
    folder.rmdir()


@pytest.fixture(params=["unix", "tcp"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def downloaded(client: PantryClient, uuid: str) -> dict[str, Any]:
    """The status of an LLM once it is here."""

    def whole() -> bool:
        return bool(client.status("get_llm_status", llm_id=uuid)["download_progress"] >= 100)

    wait_for(whole, "the download")
    return client.status("get_llm_status", llm_id=uuid)


def test_registering_takes_nothing_from_others(tmp_path: Path) -> None:
    """Clients that have to send something as a key go on until somebody who has one may do
    something.
    """
    placeholder = {"Authorization": "Bearer unused"}
    with running(tmp_path / "d") as daemon, PantryClient(daemon.address) as client:
        client.register_user("program")
        assert daemon.http.get("/v1/models", headers=placeholder).status_code == 200
        asked = client.request("request_permissions", requested_permissions=may("view_llms"))
        path = f"/runnerd/approvals/{asked['id']}/accept"
        daemon.http.post(path).raise_for_status()
        assert daemon.http.get("/v1/models", headers=placeholder).status_code == 401


def test_from_registration_to_bare_model(
    pantry: Pantry, server: FileServer, transport: str
) -> None:
    """All that needs no session, as a program does it one after the other."""
    with PantryClient(pantry.targets[transport]) as client:
        user = client.register_user("program")
        assert user["name"].startswith("program")
        assert not any(user[each] for each in PERMISSIONS)
        with pytest.raises(ApiError) as refused:
            client.statuses("get_available_llms")
        assert refused.value.status == 401
        assert refused.value.body.startswith("Incorrect Permissions")
        assert refused.value.media_type.startswith("text/plain")

        names = ("view_llms", "download_llm", "load_llm", "unload_llm", "bare_model")
        asked = client.request("request_permissions", requested_permissions=may(*names))
        assert asked["request"]["requested_permissions"] == may(*names)
        assert (asked["accepted"], asked["complete"]) == (False, False)
        pantry.decide(asked, "accept")
        told = client.request("get_request_status", request_id=asked["id"])
        assert (told["accepted"], told["complete"]) == (True, True)

        known = {"general": 3, "coding": 1, "cooking": 9}
        said = entry(server.url(), id=f"tiny-{transport}", capabilities=known)
        uuid = client.uuid("download_llm", llm_registry_entry=said)
        found = downloaded(client, uuid)
        assert found["uuid"] == uuid
        assert found["capabilities"] == {"general": 3, "coding": 1}
        assert found["connector_type"] == "LLMrs"
        assert found["running"] is False
        assert client.uuid("get_or_download_llm", llm_registry_entry=said) == uuid
        assert uuid in [each["uuid"] for each in client.statuses("get_available_llms")]

        assert client.running("load_llm", llm_id=said["id"])["uuid"] == uuid
        assert client.running("load_llm", llm_id=uuid)["running"] is True
        assert client.status("get_llm_status", llm_id=uuid)["running"] is True
        assert uuid in [each["uuid"] for each in client.statuses("get_running_llms")]
        path = client.bare("bare_model", llm_id=uuid)
        assert path.read_bytes() == server.behaviour.content
        assert client.status("unload_llm", llm_id=uuid)["running"] is False
        assert client.statuses("get_running_llms") == []


def test_a_session(pantry: Pantry, server: FileServer, transport: str) -> None:
    """Prompts go on from each other, stream, and end with a completion; interrupted ones, too."""
    client = pantry.client(transport, "view_llms", "download_llm", "load_llm", "session")
    with client:
        uuid = client.uuid(
            "download_llm", llm_registry_entry=entry(server.url(), id=f"s-{transport}")
        )
        downloaded(client, uuid)
        pantry.daemon.http.post("/engines/unload", json={"all": True}).raise_for_status()
        with pytest.raises(ApiError) as refused:
            client.session("create_session_id", llm_id=uuid, user_session_parameters={})
        assert refused.value.status == 404
        client.running("load_llm", llm_id=uuid)
        said = {"system_prompt": "Count.", "colour": "red"}
        session = client.session("create_session_id", llm_id=uuid, user_session_parameters=said)
        assert session["session_parameters"] == {"system_prompt": "Count."}
        with client.prompt(session, "one", max_tokens=3, temperature=0.5, top_k=1) as events:
            found = list(events)
        assert [each["event"]["type"] for each in found][-1] == "PromptCompletion"
        text = "".join(each["event"].get("next", "") for each in found)
        assert found[-1]["event"]["previous"] == text
        assert found[0]["parameters"] == {"max_tokens": 3, "temperature": 0.5}
        assert found[0]["input"] == "one"
        assert found[0]["session"]["user_id"] == client.user_id
