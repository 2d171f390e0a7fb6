"""Names to addresses, with the check in between."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from runnerd.outbound.addresses import AllowedSources
from runnerd.outbound.resolver import GuardedResolver, RefusedAddress

V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The addresses of names, as the system's resolver finds them."""
    names: dict[str, list[str]] = {}

    async def getaddrinfo(host: str, port: int, **more: Any) -> list[Any]:
        return [
            (V6 if ":" in address else V4, socket.SOCK_STREAM, 6, "", (address, port))
            for address in names[host]
        ]

    monkeypatch.setattr(
        asyncio.BaseEventLoop, "getaddrinfo", lambda self, *args, **more: getaddrinfo(*args, **more)
    )
    return names


async def test_an_address_that_passed_is_the_one_that_is_dialled(
    known: dict[str, list[str]],
) -> None:
    """With the name for Host and SNI; all of them are tried."""
    known["hub.example"] = ["93.184.215.14", "2606:2800:21f:cb07::1"]
    found = await GuardedResolver(AllowedSources()).resolve("hub.example", 443)
    assert [(each["hostname"], each["host"], each["port"]) for each in found] == [
        ("hub.example", "93.184.215.14", 443),
        ("hub.example", "2606:2800:21f:cb07::1", 443),
    ]
    assert all(each["flags"] & socket.AI_NUMERICHOST for each in found)  # not resolved once more


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fe80::1%eth0", "::ffff:127.0.0.1"],
)
async def test_one_internal_address_is_enough(address: str, known: dict[str, list[str]]) -> None:
    """Whoever owns the name decides which one is dialled first."""
    known["hub.example"] = ["93.184.215.14", address]
    with pytest.raises(RefusedAddress, match="is at the internal address"):
        await GuardedResolver(AllowedSources()).resolve("hub.example", 443)


async def test_what_an_owner_allows(known: dict[str, list[str]]) -> None:
    """By the host's name, or by its network."""
    known["registry.lan"] = ["10.1.2.3"]
    for allowed in ("registry.lan", "10.1.0.0/16"):
        found = await GuardedResolver(AllowedSources.parse([allowed])).resolve("registry.lan", 5000)
        assert found[0]["host"] == "10.1.2.3"


async def test_a_name_without_an_address(known: dict[str, list[str]]) -> None:
    """Is told as such."""
    known["empty.example"] = []
    with pytest.raises(OSError, match=r"empty\.example has no address"):
        await GuardedResolver(AllowedSources()).resolve("empty.example")
