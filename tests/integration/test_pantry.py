"""Pantry's API through a real daemon, at its own socket and port, with a client like its own."""

from __future__ import annotations

import contextlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from runnerd.models import tiny
from tests.support.daemon import running
from tests.support.fileserver import FileServer, serving
from tests.support.ggufs import smallest_model
from tests.support.pantry import PERMISSIONS, ApiError, PantryClient, entry, may
from tests.support.pantry_daemon import PantryDaemon
from tests.support.waiting import wait_for


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


@pytest.mark.covers("POST /register_user", "user_name", note="taken ones get a number")
@pytest.mark.covers("POST /request_permissions", "requested_permissions")
@pytest.mark.covers("POST /get_request_status", "request_id")
@pytest.mark.covers("POST /get_llm_status", "llm_id")
@pytest.mark.covers("POST /get_available_llms", "list")
@pytest.mark.covers("POST /get_running_llms", "list")
@pytest.mark.covers("POST /load_llm", "llm_id")
@pytest.mark.covers("POST /unload_llm", "llm_id", note="409 while it is in use")
@pytest.mark.covers("POST /bare_model", "llm_id")
def test_from_registration_to_bare_model(
    pantry: PantryDaemon, server: FileServer, transport: str
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


@pytest.mark.covers("POST /create_session_id", "llm_id", "user_session_parameters")
@pytest.mark.covers("POST /prompt_session_stream", "session_id", "llm_uuid", "prompt", "parameters")
def test_a_session(pantry: PantryDaemon, server: FileServer, transport: str) -> None:
    """Prompts go on from each other, stream, and end with a completion; interrupted ones, too."""
    client = pantry.client(transport, "view_llms", "download_llm", "load_llm", "session")
    with client:
        uuid = client.uuid(
            "download_llm", llm_registry_entry=entry(server.url(), id=f"s-{transport}")
        )
        downloaded(client, uuid)
        pantry.unload()
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


@pytest.fixture(scope="module")
def uuid(pantry: PantryDaemon, server: FileServer) -> str:
    """An LLM that is here."""
    with pantry.user("unix", "downloader", may=["download_llm", "view_llms"]) as client:
        found = client.uuid("download_llm", llm_registry_entry=entry(server.url(), id="here"))
        downloaded(client, found)
        return found


@pytest.mark.covers("POST /request_load", "llm_id", "filter", "preference")
@pytest.mark.covers("POST /request_load_flex", "llm_id", "filter", "preference")
@pytest.mark.covers("POST /request_download", "llm_registry_entry", "llm_registry_entry:string")
@pytest.mark.covers("POST /request_unload", "llm_id")
def test_what_pantrys_client_does_otherwise(
    pantry: PantryDaemon, server: FileServer, uuid: str, transport: str
) -> None:
    """A flexible request to load at the address of the other, an entry as a string: as pantry-rs
    sends them.
    """
    names = ("request_load", "request_unload", "request_download", "view_llms")
    with pantry.client(transport, *names) as client:
        wanted = {"llm_uuid": uuid.upper(), "minimum_capabilities": []}
        for said in (
            {"filter": wanted, "preference": None},
            {"filter": None, "preference": {"llm_uuid": uuid, "capability_type": "coding"}},
            {"llm_id": uuid},
            {"llm_id": "here"},
        ):
            for name in ("request_load", "request_load_flex"):
                asked = client.request(name, **said)
                assert asked["request"] == {"type": "LoadRequest", "llm_id": uuid}
        asked = client.request("request_unload", llm_id=uuid)
        assert asked["request"] == {"type": "UnloadRequest", "llm_id": uuid}
        said = entry(server.url(), id="as a string")
        for form in (said, json.dumps(said)):
            asked = client.request("request_download", llm_registry_entry=form)
            assert asked["request"] == {"type": "DownloadRequest", "llm_registry_entry": said}
        with pytest.raises(ApiError) as refused:
            client.request("request_download", llm_registry_entry="{}")
        assert refused.value.status == 422
        with pytest.raises(ApiError) as refused:
            client.request("request_load", filter={"llm_id": "other"}, preference=None)
        assert (refused.value.status, refused.value.body) == (404, "Unable to locate LLM.")


def test_what_is_asked_is_done(pantry: PantryDaemon, server: FileServer, transport: str) -> None:
    """Accepted, a download brings the LLM, and loads and unloads happen; rejected, nothing does."""
    names = ("request_load", "request_unload", "request_download", "view_llms")
    with pantry.client(transport, *names) as client, pantry.client(transport) as other:

        def settled(asked: dict[str, Any]) -> dict[str, Any]:
            def complete() -> bool:
                told = client.request("get_request_status", request_id=asked["id"])
                return bool(told["complete"])

            wait_for(complete, "the request to be carried out")
            return client.request("get_request_status", request_id=asked["id"])

        pantry.unload()
        said = entry(server.url(), id=f"asked for over {transport}")
        asked = client.request("request_download", llm_registry_entry=said)
        with pytest.raises(ApiError) as hidden:
            other.request("get_request_status", request_id=asked["id"])
        assert (hidden.value.status, hidden.value.body) == (404, "Request Not Found")
        pantry.decide(asked, "accept")
        assert settled(asked)["accepted"] is True
        (here,) = (
            each for each in client.statuses("get_available_llms") if each["id"] == said["id"]
        )
        assert here["running"] is False

        asked = client.request("request_load", llm_id=here["uuid"])
        pantry.decide(asked, "accept")
        assert settled(asked)["accepted"] is True
        assert client.status("get_llm_status", llm_id=here["uuid"])["running"] is True
        asked = client.request("request_unload", llm_id=here["uuid"])
        pantry.decide(asked, "reject")
        told = settled(asked)
        assert (told["accepted"], told["complete"]) == (False, True)
        assert client.status("get_llm_status", llm_id=here["uuid"])["running"] is True
        asked = client.request("request_unload", llm_id=here["id"])
        pantry.decide(asked, "accept")
        assert settled(asked)["accepted"] is True
        assert client.status("get_llm_status", llm_id=here["uuid"])["running"] is False


def held(server: FileServer, sent: int) -> None:
    """Hold a file back once some of it was sent."""
    if sent:
        server.release.wait()


@pytest.mark.covers("POST /download_llm", "llm_registry_entry", note="one address is fetched once")
@pytest.mark.covers("POST /get_or_download_llm", "llm_registry_entry")
def test_downloads(pantry: PantryDaemon, server: FileServer, transport: str) -> None:
    """Progress is told until all is here; one address is fetched once; what fails is gone."""
    names = ("download_llm", "view_llms")
    with pantry.client(transport, *names) as client, pantry.client(transport, "view_llms") as other:
        slow = f"http://{server.host}/{transport}.gguf"
        server.behaviour.pace = lambda sent: held(server, sent)
        server.release.clear()
        said = entry(slow, id=f"slow over {transport}")
        found = client.uuid("download_llm", llm_registry_entry=said)
        told = client.status("get_llm_status", llm_id=found)
        assert 0 <= told["download_progress"] < 100
        assert told["id"] == said["id"]
        assert other.status("get_llm_status", llm_id=found)["running"] is False
        assert client.uuid("get_or_download_llm", llm_registry_entry=said) == found
        assert found not in [each["uuid"] for each in client.statuses("get_available_llms")]
        server.release.set()
        server.behaviour.pace = lambda sent: None
        assert downloaded(client, found)["download_progress"] == 100

        asked = len(server.seen)
        again = client.uuid("download_llm", llm_registry_entry=said)
        assert again != found
        assert client.status("get_llm_status", llm_id=again)["download_progress"] == 100
        described = said | {"description": "another one", "capabilities": {"general": 9}}
        assert client.uuid("get_or_download_llm", llm_registry_entry=described) == found
        functional = said | {"parameters": {"temperature": 0.1}}
        third = client.uuid("get_or_download_llm", llm_registry_entry=functional)
        assert third not in (found, again)
        assert len(server.seen) == asked

        broken = entry(f"http://{server.host}/x?{transport}", id="broken")
        server.behaviour.status = 404
        found = client.uuid("download_llm", llm_registry_entry=broken)

        def gone() -> bool:
            try:
                client.status("get_llm_status", llm_id=found)
            except ApiError as error:
                return error.status == 404
            return False

        wait_for(gone, "the failed download to be gone")
        server.behaviour.status = 0
        with pytest.raises(ApiError) as refused:
            client.uuid("download_llm", llm_registry_entry=entry("x", connectorType="openai"))
        assert refused.value.status == 501


def test_large_entries(pantry: PantryDaemon, transport: str) -> None:
    """They are as bounded as an object as they are as text: everybody's lists have them."""
    large = entry("https://127.0.0.1/x.gguf", description="x" * 70_000)
    with pantry.client(transport, "download_llm", "request_download") as client:
        for call in ("download_llm", "get_or_download_llm", "request_download"):
            for said in (large, json.dumps(large)):
                with pytest.raises(ApiError, match="has at most 65536 bytes") as caught:
                    client.call(call, llm_registry_entry=said)
                assert caught.value.status == 422


@pytest.mark.covers("POST /bare_model_flex", "filter", "preference")
def test_bare_models(
    pantry: PantryDaemon, server: FileServer, uuid: str, transport: str, tmp_path: Path
) -> None:
    """A file of its own: writing and removing it, as root too, leaves the store as it is; a changed
    one is made anew.
    """
    with pantry.client(transport, "bare_model", "view_llms", "load_llm") as client:
        path = client.bare("bare_model", llm_id=uuid)
        assert client.bare("bare_model_flex", filter={"llm_uuid": uuid}, preference=None) == path
        assert path.stat().st_mode & 0o777 == 0o444
        assert path.stat().st_nlink == 1
        assert path.parent.stat().st_mode & 0o777 == 0o711
        store = pantry.daemon.state_dir / "models"
        assert not [each for each in store.rglob("*") if each.samefile(path)]
        path.chmod(0o644)
        path.write_bytes(b"something else")
        renewed = client.bare("bare_model", llm_id=uuid)
        assert renewed.read_bytes() == server.behaviour.content
        renewed.unlink()
        assert client.bare("bare_model", llm_id=uuid).read_bytes() == server.behaviour.content
        assert client.running("load_llm", llm_id=uuid)["running"] is True
        other = tmp_path / "other.gguf"
        tiny.write_completion_model(other, name="to be removed", seed=9)
        pantry.daemon.import_model(other, "removed")
        copied = client.bare("bare_model", llm_id="removed")
        assert copied.read_bytes() == other.read_bytes()
        pantry.daemon.http.delete("/models/removed").raise_for_status()
        wait_for(lambda: not copied.exists(), "the copy to go with its model")


@pytest.mark.covers("POST /create_session_flex", "filter", "preference", "user_session_parameters")
@pytest.mark.covers("Pantry errors", "500", note="nothing to interrupt")
def test_sessions_of_others(pantry: PantryDaemon, uuid: str, transport: str) -> None:
    """Nobody prompts or interrupts another's session, nor one with another LLM."""
    may_use = ("session", "load_llm", "view_llms")
    with pantry.client(transport, *may_use) as ann, pantry.client(transport, *may_use) as bob:
        ann.running("load_llm", llm_id=uuid)
        wanted = {"filter": {"llm_uuid": uuid}, "preference": None, "user_session_parameters": {}}
        session = ann.session("create_session_flex", **wanted)
        with bob.prompt(session, "x") as events:  # another status than 200, which no client sees
            assert list(events) == []
        said = {"session_id": session["session_id"], "llm_uuid": uuid}
        for client, more, status in (
            (bob, {}, 404),
            (ann, {"llm_uuid": str(uuid4())}, 404),
            (ann, {"session_id": "x"}, 400),
            (ann, {}, 500),
        ):
            with pytest.raises(ApiError) as refused:
                client.running("interrupt_session", **{**said, **more})
            assert refused.value.status == status
        assert refused.value.body.startswith("Cancellation token missing")


@pytest.mark.covers("POST /create_session", "user_session_parameters")
@pytest.mark.covers("POST /interrupt_session", "session_id", "llm_uuid")
def test_interruption(pantry: PantryDaemon, uuid: str, transport: str) -> None:
    """It ends what is answered with a completion of what was said; the session goes on."""
    with pantry.client(transport, "session", "load_llm", "view_llms") as client:
        client.running("load_llm", llm_id=uuid)
        session = client.session("create_session", user_session_parameters={})
        said = {
            "session_id": session["session_id"],
            "llm_uuid": session["llm_status"]["uuid"],
        }
        with client.prompt(session, "go on", pre_prompt="Q: ") as events:
            first = next(events)
            assert first["input"] == "Q: go on"
            assert client.call("interrupt_session", **said)["uuid"] == said["llm_uuid"]
            *_, last = events
        assert last["event"]["type"] == "PromptCompletion"
        assert last["stream_id"] == first["stream_id"]
        with client.prompt(session, "x" * 100_000, max_tokens=2) as events:
            (failed,) = events
        assert failed["event"]["type"] == "PromptError"
        assert failed["stream_id"] != first["stream_id"]
        with client.prompt(session, "more", max_tokens=2) as events:
            assert list(events)[-1]["event"]["type"] == "PromptCompletion"


@pytest.mark.covers("Pantry errors", "507")
def test_what_cannot_be_loaded(pantry: PantryDaemon, transport: str) -> None:
    """507, with the engine's last words; the same for a flexible choice."""
    with serving(smallest_model()) as server:
        names = ("view_llms", "download_llm", "load_llm")
        with pantry.client(transport, *names) as client:
            said = entry(server.url(), id=f"broken {transport}", familyId=f"broken {transport}")
            found = client.uuid("download_llm", llm_registry_entry=said)
            downloaded(client, found)
            wanted = {"filter": {"family_id": said["familyId"]}, "preference": None}
            for name, asked in (("load_llm", {"llm_id": found}), ("load_llm_flex", wanted)):
                with pytest.raises(ApiError) as refused:
                    client.running(name, **asked)
                assert refused.value.status == 507
                assert "llama.context_length" in refused.value.body


def test_who_it_was(pantry: PantryDaemon, uuid: str, transport: str) -> None:
    """The audit tells the user of the body, although the connection is the owner's."""
    with pantry.user(transport, f"auditee {transport}", may=["load_llm", "view_llms"]) as client:
        client.running("load_llm", llm_id=uuid)
        (entry, *_) = pantry.daemon.http.get("/runnerd/audit").json()
        assert (entry["action"], entry["who"]) == ("load_model", f"auditee {transport}")
        assert entry["subject"].startswith("pantry/here:")
        mine = pantry.daemon.http.get("/runnerd/audit", params={"who": entry["who"]}).json()
        assert mine == [entry]


def test_a_key_that_is_revoked_while_it_is_answered(
    pantry: PantryDaemon, uuid: str, transport: str
) -> None:
    """The stream ends, as every other one of that user."""
    may_use = ["session", "load_llm", "view_llms"]
    with pantry.user(transport, f"revoked {transport}", may=may_use) as client:
        client.running("load_llm", llm_id=uuid)
        session = client.session("create_session", user_session_parameters={})
        with client.prompt(session, "go on") as events:
            next(events)
            pantry.daemon.http.delete(f"/runnerd/users/{client.user_id}").raise_for_status()
            kinds = []
            with contextlib.suppress(httpx.TransportError):
                kinds += [each["event"]["type"] for each in events]
        assert "PromptCompletion" not in kinds


def test_who_leaves(pantry: PantryDaemon, uuid: str, transport: str) -> None:
    """What was answered is cancelled, and nothing of it is kept; the session goes on."""
    with pantry.client(transport, "session", "load_llm", "view_llms") as client:
        client.running("load_llm", llm_id=uuid)
        session = client.session("create_session", user_session_parameters={})
        path = f"/runnerd/sessions/{session['session_id']}"
        with client.prompt(session, "go on") as events:
            next(events)
            assert pantry.daemon.http.get(path).json()["prompts_waiting"] == 1
        wait_for(
            lambda: pantry.daemon.http.get(path).json()["prompts_waiting"] == 0,
            "the prompt to be cancelled",
        )
        assert pantry.daemon.http.get(path).json()["turns"] == 0
        with client.prompt(session, "again", max_tokens=2) as events:
            assert list(events)[-1]["event"]["type"] == "PromptCompletion"
        assert pantry.daemon.http.get(path).json()["turns"] == 1


def test_two_prompts_of_one_session(pantry: PantryDaemon, uuid: str, transport: str) -> None:
    """They are answered one after the other, each with a stream of its own."""
    with pantry.client(transport, "session", "load_llm", "view_llms") as client:
        client.running("load_llm", llm_id=uuid)
        session = client.session("create_session", user_session_parameters={})

        def asked(text: str) -> list[dict[str, Any]]:
            with client.prompt(session, text, max_tokens=3) as events:
                return list(events)

        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(asked, ("one", "two")))
        assert {each[-1]["event"]["type"] for each in found} == {"PromptCompletion"}
        assert len({each["stream_id"] for events in found for each in events}) == 2
        path = f"/runnerd/sessions/{session['session_id']}"
        history = pantry.daemon.http.get(path).json()["history"]
        assert sorted(turn["prompt"] for turn in history) == ["one", "two"]


def test_grants(pantry: PantryDaemon, uuid: str, transport: str) -> None:
    """An LLM of a model that was not granted is as one that there is not, for every call."""
    user = pantry.user(transport, f"granted {transport}", may=["superuser"])
    with user as client:
        names = [
            "view_llms", "session", "load_llm", "unload_llm", "bare_model", "download_llm",
            "request_load", "request_unload", "request_download",
        ]  # fmt: skip
        path = f"/runnerd/users/{client.user_id}"
        changed = {"may": names, "models": ["ai/nothing*"]}
        pantry.daemon.http.post(path, json=changed).raise_for_status()
        assert client.statuses("get_available_llms") == []
        assert client.statuses("get_running_llms") == []
        one = {"llm_id": uuid}
        for name in (
            "get_llm_status", "load_llm", "unload_llm", "bare_model", "request_load",
            "request_unload",
        ):  # fmt: skip
            with pytest.raises(ApiError) as refused:
                client.call(name, **one)
            assert refused.value.status == 404, name
        for name in ("load_llm_flex", "bare_model_flex", "request_load_flex"):
            with pytest.raises(ApiError) as refused:
                client.call(name, filter=None, preference={"llm_uuid": uuid})
            assert refused.value.status == 404, name
        for name in ("download_llm", "get_or_download_llm", "request_download"):
            with pytest.raises(ApiError) as refused:
                client.call(name, llm_registry_entry=entry("ai/smollm2"))
            assert refused.value.status == 403, name
