"""Registry entries that users bring along: for whom they count, and how many there can be."""

from __future__ import annotations

import pytest

from tests.integration.test_pantry import downloaded
from tests.support.fileserver import FileServer
from tests.support.pantry import ApiError, entry
from tests.support.pantry_daemon import PantryDaemon


def test_whose_words_count(pantry: PantryDaemon, server: FileServer, transport: str) -> None:
    """What one user's entry says of a model counts for that user; others find the LLM by its id and
    UUID, and it is neither their best choice nor in their sessions.
    """
    may = ("view_llms", "download_llm", "load_llm", "session")
    said = entry(
        server.url(f"/{transport}.gguf"),
        id=f"boast-{transport}",
        familyId=f"boasts-{transport}",
        capabilities={"general": 10},
        sessionParameters={"system_prompt": "Praise me."},
        parameters={"pre_prompt": "Praise me."},
    )
    strong = {"minimum_capabilities": [{"capability": "general", "value": 9}]}
    with pantry.client(transport, *may) as boaster, pantry.client(transport, *may) as other:
        uuid = boaster.uuid("download_llm", llm_registry_entry=said)
        downloaded(boaster, uuid)
        assert boaster.running("load_llm_flex", filter=strong, preference=None)["uuid"] == uuid
        with pytest.raises(ApiError) as refused:
            other.running("load_llm_flex", filter=strong, preference=None)
        assert refused.value.status == 404
        with pytest.raises(ApiError):
            other.running("load_llm_flex", filter={"family_id": said["familyId"]}, preference=None)

        found = other.status("get_llm_status", llm_id=uuid)
        assert (found["id"], found["capabilities"]["general"]) == (said["id"], -1)
        assert other.running("load_llm", llm_id=said["id"])["uuid"] == uuid
        session = other.session("create_session_id", llm_id=uuid, user_session_parameters={})
        assert session["session_parameters"] == {}
        with other.prompt(session, "one", max_tokens=2) as events:
            assert {each["input"] for each in events} == {"one"}
        own = boaster.session("create_session_id", llm_id=uuid, user_session_parameters={})
        assert own["session_parameters"] == said["sessionParameters"]

        # Who says the same has an LLM of its own, of the same file.
        mine = other.uuid("get_or_download_llm", llm_registry_entry=said)
        assert mine != uuid
        assert downloaded(other, mine)["capabilities"]["general"] == 10
        assert other.uuid("get_or_download_llm", llm_registry_entry=said) == mine

        # What the owner has looked at and changed counts for all.
        path = f"/runnerd/catalog/{uuid}"
        shown = pantry.daemon.http.get(path).raise_for_status().json()
        assert shown["entry"]["capabilities"] == {"general": 10}
        pantry.daemon.http.post(path, json={"capabilities": {"general": 2}}).raise_for_status()
        assert other.status("get_llm_status", llm_id=uuid)["capabilities"] == {"general": 2}


def test_so_many_entries(pantry: PantryDaemon, server: FileServer, transport: str) -> None:
    """One user has so many entries; then its downloads are refused at once, and others' are not."""
    named = f"many-{transport}"
    url = server.url(f"/{named}.gguf")
    with (
        pantry.client(transport, "view_llms", "download_llm") as client,
        pantry.client(transport, "view_llms", "download_llm") as other,
    ):
        first = client.uuid("download_llm", llm_registry_entry=entry(url, id=named))
        downloaded(client, first)
        for number in range(99):
            client.uuid("download_llm", llm_registry_entry=entry(url, id=f"{named}-{number}"))
        with pytest.raises(ApiError) as refused:
            client.uuid("download_llm", llm_registry_entry=entry(url, id="too many"))
        assert refused.value.status == 429
        assert "100 registry entries are kept of one user" in refused.value.body
        other.uuid("download_llm", llm_registry_entry=entry(url, id=named))
        ids = [each["id"] for each in client.statuses("get_available_llms")]
        assert sum(id.startswith(named) for id in ids) == 101
