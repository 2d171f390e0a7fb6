"""A client of Pantry's API, written from the facts about its wire: no more tolerant than pantry-rs.

Each call is a POST to a path made of two parts that both have a slash, and only 200 is success.  A
response that lacks a field, or has a capability that Pantry does not know, cannot be read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from tests.support.plain_http import NO_TLS
from tests.support.waiting import SECONDS

PERMISSIONS = (
    "perm_superuser",
    "perm_load_llm",
    "perm_unload_llm",
    "perm_download_llm",
    "perm_session",
    "perm_request_download",
    "perm_request_load",
    "perm_request_unload",
    "perm_view_llms",
    "perm_bare_model",
)
CAPABILITIES = {"general", "assistant", "writing", "coding"}
STATUS: dict[str, type | tuple[type, ...]] = {
    "id": str,
    "family_id": str,
    "organization": str,
    "name": str,
    "homepage": str,
    "license": str,
    "description": str,
    "capabilities": dict,
    "requirements": str,
    "tags": list,
    "url": str,
    "local": bool,
    "connector_type": str,
    "download_progress": (int, float),
    "config": dict,
    "parameters": dict,
    "user_parameters": list,
    "session_parameters": dict,
    "user_session_parameters": list,
    "uuid": str,
    "running": bool,
}
_REQUESTS = {
    "DownloadRequest": "llm_registry_entry",
    "PermissionRequest": "requested_permissions",
    "LoadRequest": "llm_id",
    "UnloadRequest": "llm_id",
}


class ApiError(Exception):
    """Any other status than 200; the body is shown as it is."""

    def __init__(self, status: int, body: str, media_type: str) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body
        self.media_type = media_type


def may(*names: str) -> dict[str, bool]:
    """Pantry's ten, these of them set."""
    return {each: each.removeprefix("perm_") in names for each in PERMISSIONS}


def entry(url: str, **said: Any) -> dict[str, Any]:
    """A registry entry of the model at an address."""
    return {
        "id": "tiny-llm",
        "familyId": "tiny",
        "organization": "tests",
        "name": "Tiny",
        "license": "none",
        "description": "for tests",
        "homepage": "https://example.org",
        "capabilities": {"general": 3, "coding": 1},
        "tags": ["small"],
        "requirements": "1 GB",
        "backendUuid": "",
        "url": url,
        "config": {"model_architecture": "llama"},
        "local": True,
        "connectorType": "llmrs",
        "parameters": {},
        "userParameters": ["temperature", "max_tokens", "pre_prompt"],
        "sessionParameters": {},
        "userSessionParameters": ["system_prompt"],
        **said,
    }


class PantryClient:
    """Talks to a server over its Unix socket (a path) or TCP (an address); close it."""

    def __init__(self, target: Path | str, user_id: str = "", api_key: str = "") -> None:
        self.user_id, self.api_key = user_id, api_key
        if isinstance(target, Path):
            # hyperlocal, which pantry-rs is made with, puts the path of the socket into the host.
            self._host = f"{str(target).encode().hex()}:0"
            self._url, self._slashes = httpx.URL("http://localhost"), "/"
            transport: httpx.HTTPTransport | None = httpx.HTTPTransport(
                uds=str(target), verify=NO_TLS
            )
        else:
            self._url, self._slashes, transport = httpx.URL(target), "//", None
            self._host = self._url.netloc.decode()
        self.http = httpx.Client(transport=transport, timeout=60 * SECONDS)

    def __enter__(self) -> PantryClient:
        return self

    def __exit__(self, *error: object) -> None:
        self.http.close()

    def call(self, name: str, **said: Any) -> Any:
        """The JSON of a call's response.  Raises ApiError."""
        response = self.http.send(self.request_of(name, said))
        if response.status_code != 200:
            raise ApiError(
                response.status_code, response.text, response.headers.get("content-type", "")
            )
        return response.json()

    def request_of(self, name: str, said: dict[str, Any]) -> httpx.Request:
        """What a call sends."""
        if self.user_id:
            said = {"user_id": self.user_id, "api_key": self.api_key, **said}
        return self.http.build_request(
            "POST",
            self._url.copy_with(raw_path=f"{self._slashes}{name}".encode()),
            content=json.dumps(said),
            headers={"content-type": "application/json", "host": self._host},
        )

    # calls, with what is known of their responses

    def register_user(self, name: str) -> dict[str, Any]:
        """Register, and be that user from now on."""
        found = self.call("register_user", user_name=name)
        assert set(found) == {"id", "name", "api_key", *PERMISSIONS}
        assert all(type(found[each]) is bool for each in PERMISSIONS)
        self.user_id, self.api_key = str(UUID(found["id"])), found["api_key"]
        return dict(found)

    def request(self, name: str, **said: Any) -> dict[str, Any]:
        """Ask the owner for something, or what became of it."""
        found = self.call(name, **said)
        fields = {"id", "user_id", "timestamp", "request", "accepted", "complete"}
        assert fields <= set(found), found
        UUID(found["id"]), UUID(found["user_id"])
        assert found["timestamp"].endswith(("Z", "+00:00"))
        assert _REQUESTS[found["request"]["type"]] in found["request"]
        return dict(found)

    def status(self, name: str, **said: Any) -> dict[str, Any]:
        """One LLMStatus."""
        return checked(self.call(name, **said))

    def statuses(self, name: str) -> list[dict[str, Any]]:
        """A list of LLMStatus."""
        return [checked(each) for each in self.call(name)]

    def running(self, name: str, **said: Any) -> dict[str, Any]:
        """The LLMStatus in an LLMRunningStatus."""
        found = self.call(name, **said)
        assert set(found) == {"llm_info", "uuid"}
        assert found["uuid"] == found["llm_info"]["uuid"]
        return checked(found["llm_info"])

    def uuid(self, name: str, **said: Any) -> str:
        """A response that is a bare string with a UUID."""
        return str(UUID(self.call(name, **said)))

    def bare(self, name: str, **said: Any) -> Path:
        """The path in a BareModelResponse."""
        found = self.call(name, **said)
        checked(found["model"])
        return Path(found["path"])

    def session(self, name: str, **said: Any) -> dict[str, Any]:
        """A CreateSessionResponse."""
        found = self.call(name, **said)
        assert isinstance(found["session_parameters"], dict)
        UUID(found["session_id"])
        checked(found["llm_status"])
        return dict(found)

    @contextmanager
    def prompt(
        self, session: dict[str, Any], prompt: str, **parameters: Any
    ) -> Iterator[Iterator[dict[str, Any]]]:
        """The events of a prompt; a status is not looked at, as in pantry-rs."""
        said = {
            "session_id": session["session_id"],
            "llm_uuid": session["llm_status"]["uuid"],
            "prompt": prompt,
            "parameters": parameters,
        }
        response = self.http.send(self.request_of("prompt_session_stream", said), stream=True)
        try:
            yield _events(response)
        finally:
            response.close()


def _events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in response.iter_lines():
        if line.startswith("data:"):
            event = json.loads(line.removeprefix("data:"))
            _check_event(event)
            yield event


def _check_event(event: dict[str, Any]) -> None:
    fields = {"stream_id", "timestamp", "call_timestamp", "parameters", "input", "llm_uuid"}
    assert {*fields, "session", "event"} == set(event)
    UUID(event["stream_id"]), UUID(event["llm_uuid"])
    session = event["session"]
    assert set(session) == {
        "id", "llm_uuid", "user_id", "started", "last_called", "session_parameters"
    }  # fmt: skip
    fields = {
        "PromptProgress": {"previous", "next"},
        "PromptCompletion": {"previous"},
        "PromptError": {"message"},
    }[event["event"]["type"]]
    assert fields <= set(event["event"])


def checked(status: dict[str, Any]) -> dict[str, Any]:
    """A status that pantry-rs could read."""
    assert set(status) == set(STATUS), set(status) ^ set(STATUS)
    for name, kind in STATUS.items():
        assert isinstance(status[name], kind), (name, status[name])
    assert set(status["capabilities"]) <= CAPABILITIES
    assert all(type(value) is int for value in status["capabilities"].values())
    assert status["connector_type"] in ("GenericAPI", "LLMrs", "OpenAI")
    UUID(status["uuid"])
    return status
