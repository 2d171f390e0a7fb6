"""The way out: which addresses may be dialled, and what a hostile server can make it do."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from runnerd.errors import Forbidden, InvalidReference, RunnerdError, SourceFailure, StartupError
from runnerd.outbound.addresses import AllowedSources, is_internal
from runnerd.outbound.client import Outbound, read_capped
from tests.support.fileserver import FileServer, answer_with, serving

COVERS = ("runnerd.outbound.client",)

INTERNAL = [
    *("127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "192.168.1.1", "0.0.0.0"),
    *("0.1.2.3", "100.64.0.1", "169.254.169.254", "224.0.0.1", "255.255.255.255", "192.0.0.8"),
    *("198.18.0.1", "240.0.0.1", "::", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254"),
    *("::127.0.0.1", "fc00::1", "fd12::1", "fe80::1", "fec0::1", "ff02::1", "64:ff9b::7f00:1"),
    *("64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1", "100::1"),
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "2a00:1450:4001::8a"]


@pytest.mark.parametrize("text", INTERNAL)
def test_internal_addresses(text: str) -> None:
    """Everything that is not the public internet, in all its disguises."""
    assert is_internal(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses(text: str) -> None:
    """Ordinary addresses may be dialled."""
    assert not is_internal(ipaddress.ip_address(text))


@given(st.ip_addresses(v=4))
def test_mapping_an_address_changes_nothing(address: ipaddress.IPv4Address) -> None:
    """A v4 address is as internal inside a v6 one as by itself."""
    assert is_internal(ipaddress.IPv6Address(f"::ffff:{address}")) == is_internal(address)


def test_allowed_sources() -> None:
    """Names and networks are allowed; nonsense is refused when the daemon starts."""
    allowed = AllowedSources.parse(["Registry.Local", "10.1.0.0/16", "[::1]"])
    assert allowed.permits("registry.local", ipaddress.ip_address("192.168.0.1"))
    assert allowed.permits("x", ipaddress.ip_address("10.1.2.3"))
    assert allowed.permits("x", ipaddress.ip_address("::ffff:10.1.2.3"))
    assert allowed.permits("x", ipaddress.ip_address("::1"))
    assert not allowed.permits("x", ipaddress.ip_address("10.2.0.1"))
    with pytest.raises(StartupError, match="allowed_sources"):
        AllowedSources.parse(["http://x/y"])


@pytest.fixture
async def http(no_task_left: None) -> AsyncIterator[Outbound]:
    """A way out that may reach 127.0.0.1 and no other internal address."""
    outbound = Outbound(AllowedSources.parse(["127.0.0.1"]), stall_timeout=2)
    yield outbound
    await outbound.close()


@pytest.fixture
def server() -> Iterator[FileServer]:
    """A server on loopback."""
    with serving(b"x") as server:
        yield server


async def get(http: Outbound, url: str, **options: bool) -> int:
    """Return the status of a GET."""
    async with http.request("GET", URL(url), **options) as response:  # type: ignore[arg-type]
        return response.status


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.2/x", "https://169.254.169.254/latest/meta-data", "https://[::1]/x"),
        *("https://[::ffff:127.0.0.2]/x", "https://[fe80::1%25lo]/x", "https://[::ffff:7f00:2]/x"),
        "https://0x7f.0.0.2/x",
    ],
)
async def test_internal_addresses_are_never_dialled(http: Outbound, url: str) -> None:
    """However an internal address is written, no connection is made."""
    with pytest.raises(Forbidden, match="allowed_sources"):
        await get(http, url)


@pytest.mark.parametrize("url", ["https://2130706434/x", "https://0/x", "https://127.1/x"])
async def test_addresses_that_are_written_oddly(http: Outbound, url: str) -> None:
    """What libraries read differently is no address at all."""
    with pytest.raises((InvalidReference, Forbidden)):
        await get(http, url)


async def test_name_of_an_internal_address(server: FileServer) -> None:
    """A name is what it resolves to; no request reaches the server."""
    outbound = Outbound(AllowedSources())
    with pytest.raises(Forbidden, match="internal address"):
        await get(outbound, f"https://localhost:{server.host.partition(':')[2]}/x")
    await outbound.close()
    assert server.seen == []


async def test_name_that_is_rebound_between_looks(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of several addresses is enough to refuse a name, and what was checked is dialled."""
    port = int(server.host.partition(":")[2])

    async def both(self: object, host: str, *rest: object, **more: object) -> list[object]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, ("8.8.8.8", port)), (*kind, ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", both)
    outbound = Outbound(AllowedSources())
    with pytest.raises(Forbidden):
        await get(outbound, f"https://two.example:{port}/x")
    await outbound.close()
    assert server.seen == []


@pytest.mark.parametrize(
    "target",
    ["https://169.254.169.254/", "http://127.0.0.2/", "http://[::1]/", "https://10.0.0.1/"],
)
async def test_redirects_are_checked_again(http: Outbound, server: FileServer, target: str) -> None:
    """A redirect cannot lead where a request could not."""
    server.behaviour.location = target
    with pytest.raises(Forbidden):
        await get(http, server.url())


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/", "http://a:b@127.0.0.1/"]
)
async def test_redirects_to_other_schemes_and_with_passwords(
    http: Outbound, server: FileServer, target: str
) -> None:
    """Only http(s) without a password is followed."""
    server.behaviour.location = target
    with pytest.raises((InvalidReference, SourceFailure)):
        await get(http, server.url())


async def test_endless_redirects(http: Outbound, server: FileServer) -> None:
    """Five redirects are followed and no more."""
    server.behaviour.location = server.url("/again")
    with pytest.raises(SourceFailure, match="more than 5"):
        await get(http, server.url())
    assert len(server.seen) == 6


async def test_secrets_stay_with_the_first_origin(http: Outbound, server: FileServer) -> None:
    """A redirect to another port is another origin, and the way back is not forgiven."""
    with serving() as other:
        server.behaviour.location = other.url("/there")
        other.behaviour.location = server.url("/back")
        server.routes["/back"] = answer_with(b"")
        async with http.request(
            "GET", URL(server.url()), secrets={"Authorization": "Bearer s3cret"}
        ) as response:
            assert response.status == 200
        sent = [seen.headers.get("authorization") for seen in (*server.seen, *other.seen)]
    assert sent == ["Bearer s3cret", None, None]


@pytest.mark.parametrize("verified", [False, True])
async def test_plain_http_to_a_public_host(http: Outbound, verified: bool) -> None:
    """Plain http is for content that a digest vouches for, and never for secrets."""
    secrets = {"Authorization": "x"} if verified else {}
    with pytest.raises(Forbidden, match="plain http"):
        async with http.request(
            "GET", URL("http://203.0.114.1/x"), secrets=secrets, verified=verified
        ):
            pass


async def test_body_and_head_are_capped(http: Outbound, server: FileServer) -> None:
    """A body beyond the cap and a head of ten megabytes are errors, not memory."""
    server.behaviour.content = bytes(2**20)
    async with http.request("GET", URL(server.url())) as response:
        with pytest.raises(SourceFailure, match="more than"):
            await read_capped(response, 1000)
    server.behaviour.headers = {"X-Long": "x" * 10 * 2**20}
    with pytest.raises(SourceFailure):
        await get(http, server.url())


async def test_unreachable_host_is_named(http: Outbound) -> None:
    """A refused connection says which host it was."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(RunnerdError, match=r"127\.0\.0\.1 cannot be reached"):
            await get(http, f"http://127.0.0.1:{port}/")


async def test_proxies_of_the_environment_are_ignored(
    http: Outbound, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the owner's setting names a proxy."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert await get(http, server.url()) == 200


@pytest.mark.parametrize(
    "host",
    ["metadata.google.internal", "localhost", "x.localhost", "printer", "nas.local", "a.home.arpa",
     "METADATA.google.INTERNAL.", "db.corp"],
)  # fmt: skip
async def test_names_that_a_proxy_must_not_resolve(server: FileServer, host: str) -> None:
    """Names of internal networks are refused by us: the proxy hears nothing of them."""
    proxied = Outbound(AllowedSources(), proxy=f"http://{server.host}")
    try:
        with pytest.raises(Forbidden, match="internal network"):
            await get(proxied, f"https://{host}:8443/x", verified=True)
    finally:
        await proxied.close()
    assert server.seen == []


async def test_a_name_that_leads_inside_is_not_given_to_a_proxy(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What we can resolve is looked at, as without a proxy; what we cannot is the proxy's."""
    asked = []

    async def getaddrinfo(host: str, *rest: object, **named: object) -> list[object]:
        asked.append(host)
        if host == "nowhere.example.com":
            raise socket.gaierror("no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.7", 80))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    proxied = Outbound(AllowedSources(), proxy=f"http://{server.host}")
    try:
        with pytest.raises(Forbidden, match=r"10\.0\.0\.7"):
            await get(proxied, "http://rebound.example.com/x", verified=True)
        await proxied._check_name("nowhere.example.com")
        await proxied._check_name("nowhere.example.com")
    finally:
        await proxied.close()
    assert asked == ["rebound.example.com", "nowhere.example.com"]
    assert server.seen == []
