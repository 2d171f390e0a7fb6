"""Files of a model that a source offers: where they are asked for, and what refusals mean."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from yarl import URL

from runnerd.errors import ModelNotFound, SourceBusy, SourceDenied, SourceFailure
from runnerd.models.digest import Digest
from runnerd.pulls.offer import NO_CREDENTIALS, Offer, OfferedFile, Remote, layer_id, refusal

HUB = URL("https://hub.example/file")
SIGNED = URL("https://store.example/file?signature=1")
DIGEST = Digest.of(b"content")


def response(status: int, url: URL = HUB, **headers: str) -> Any:
    return SimpleNamespace(status=status, url=url, headers=headers)


class Hub:
    """An outbound client whose hub sends everybody on to a signed address."""

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, Mapping[str, str]]] = []
        self.answers: list[Any] = []

    @asynccontextmanager
    async def request(
        self, method: str, url: URL, *, secrets: Mapping[str, str], **more: Any
    ) -> AsyncIterator[Any]:
        self.asked.append((url.host, secrets))
        yield self.answers.pop(0)


@pytest.fixture
def hub() -> Hub:
    return Hub()


async def opened(remote: Remote) -> int:
    async with remote.open({}) as found:
        return found.status


async def test_where_it_led_is_asked_at_once(hub: Hub) -> None:
    """The hub once and no more; no secret of its goes along to the address that it has signed."""
    secrets = {"Authorization": "Bearer x"}

    async def of_hub(refused: aiohttp.ClientResponse | None) -> Mapping[str, str] | None:
        return secrets

    hub.answers = [response(206, SIGNED)] * 3
    remote = Remote(cast(Any, hub), HUB, verified=True, secrets=of_hub)
    for _ in range(3):
        assert await opened(remote) == 206
    assert hub.asked == [("hub.example", secrets), ("store.example", {}), ("store.example", {})]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
async def test_an_address_that_has_expired_is_forgotten(hub: Hub, status: int) -> None:
    """The hub is asked again, and from then on, since it has the file itself now."""
    hub.answers = [response(206, SIGNED), response(status, SIGNED), *[response(206)] * 2]
    remote = Remote(cast(Any, hub), HUB, verified=True)
    await opened(remote)
    assert await opened(remote) == 206
    await opened(remote)
    hosts = [host for host, _ in hub.asked]
    assert hosts == ["hub.example", "store.example", "hub.example", "hub.example"]


async def test_a_busy_address_is_asked_again(hub: Hub) -> None:
    """It is what has to do better, not the hub."""
    hub.answers = [response(503, SIGNED, **{"Retry-After": "3"}), response(200, SIGNED)]
    remote = Remote(cast(Any, hub), HUB, verified=True)
    with pytest.raises(SourceBusy) as found:
        await opened(remote)
    assert found.value.retry_after == 3
    assert await opened(remote) == 200
    assert [host for host, _ in hub.asked] == ["hub.example", "store.example"]


async def test_who_asks_for_other_credentials_gets_them_once(hub: Hub) -> None:
    """A registry says with its 401 which token it wants."""

    async def token(refused: aiohttp.ClientResponse | None) -> Mapping[str, str] | None:
        return None if refused is None else {"Authorization": "Bearer t"}

    remote = Remote(cast(Any, hub), HUB, verified=True, secrets=token, remedy="log in")
    hub.answers = [response(401), response(200)]
    assert await opened(remote) == 200
    assert [secrets for _, secrets in hub.asked] == [{}, {"Authorization": "Bearer t"}]
    hub.answers = [response(401), response(401)]
    with pytest.raises(SourceDenied, match="does not give the file to us: log in"):
        await opened(remote)


async def test_a_url_has_no_credentials(hub: Hub) -> None:
    """Whoever is refused is told how models of the hub are named."""
    hub.answers = [response(401)]
    with pytest.raises(SourceDenied, match="RUNNERD_HUB_TOKEN"):
        await opened(Remote(cast(Any, hub), HUB, verified=True))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (403, SourceDenied),
        (404, ModelNotFound),
        (410, ModelNotFound),
        (429, SourceBusy),
        (500, SourceFailure),
        (418, SourceFailure),
    ],
)
def test_what_a_refusal_means(status: int, kind: type[Exception]) -> None:
    """With the host's name and what was asked for."""
    found = refusal(response(status), "the list of files", NO_CREDENTIALS)
    assert isinstance(found, kind)
    assert "hub.example" in found.message
    assert "the list of files" in found.message


def test_files_without_a_digest_have_a_name_in_progress(hub: Hub) -> None:
    """One that stays the same: that of their address."""
    remote = Remote(cast(Any, hub), HUB, verified=True)
    known = OfferedFile("a", "x", remote, digest=DIGEST, size=3)
    unknown = OfferedFile("b", "x", remote)
    assert layer_id(known) == str(DIGEST)
    assert layer_id(unknown) == str(Digest.of(str(HUB).encode()))
    assert Offer((known, unknown)).size == 3
