"""Whom credentials are shown to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from runnerd.errors import RunnerdError
from runnerd.pulls.authorization import belongs_together, checked_realm, registrable
from runnerd.pulls.credentials import HUB, Credentials, DockerCredentials


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("registry-1.docker.io", "auth.docker.io"),
        ("ghcr.io", "ghcr.io"),
        ("registry.gitlab.com", "gitlab.com"),
        ("registry.example.co.uk", "auth.example.co.uk"),
        ("127.0.0.1", "127.0.0.1"),
        ("registry", "registry"),
    ],
)
def test_realms_of_the_registry(registry: str, realm: str) -> None:
    """The same host, or the same registrable domain."""
    assert belongs_together(registry, realm)


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("registry-1.docker.io", "docker.io.evil.com"),
        ("evil.com", "auth.docker.io"),
        ("evil.co.uk", "victim.co.uk"),
        ("evil.github.io", "victim.github.io"),
        ("127.0.0.1", "127.0.0.2"),
        ("127.0.0.1", "localhost"),
        ("registry", "other"),
        ("10.0.0.1", "11.0.0.1"),
        ("docker.io", "notdocker.io"),
    ],
)
def test_realms_elsewhere(registry: str, realm: str) -> None:
    """Everything else gets nothing."""
    assert not belongs_together(registry, realm)


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("https://r.example.com:5000/v2/", "https://r.example.com:5000/token"),
        ("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5000/token"),
        ("https://r.example.com:5050/v2/", "https://r.example.com/jwt/auth"),
        ("https://registry-1.docker.io/v2/", "https://auth.docker.io/token"),
    ],
)
def test_realms_at_their_place(registry: str, realm: str) -> None:
    """The registry's own origin, or https where https is."""
    assert checked_realm(realm, URL(registry)) == URL(realm)


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("http://127.0.0.1:5000/v2/", "http://127.0.0.1:6379/token"),
        ("https://r.example.com:5000/v2/", "https://r.example.com:5001/token"),
        ("https://r.example.com/v2/", "https://auth.example.com:8443/token"),
        ("http://r.example.com/v2/", "http://auth.example.com/token"),
        ("http://r.example.com:5000/v2/", "http://r.example.com/token"),
        ("https://r.example.com/v2/", "https://auth.docker.io/token"),
        ("https://r.example.com/v2/", "https://[bad"),
        ("https://r.example.com/v2/", ""),
    ],
)
def test_realms_at_another_port(registry: str, realm: str) -> None:
    """Another service of the same host is not the registry's."""
    with pytest.raises(RunnerdError, match=r"not its own|no usable place"):
        checked_realm(realm, URL(registry))


@given(st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8}){0,4}", fullmatch=True))
def test_registrable_part_is_an_end_of_the_name(host: str) -> None:
    """It is never a top-level domain alone, and always what the name ends in."""
    found = registrable(host)
    assert found is None or ("." in found and (host == found or host.endswith(f".{found}")))


@pytest.mark.parametrize(
    ("document", "registry", "expected"),
    [
        ({"auths": {"r.x": {"auth": "dTpwOng="}}}, "r.x", Credentials("u", "p:x")),
        ({"auths": {"https://r.x": {"username": "u", "password": "p"}}}, "r.x", ("u", "p")),
        ({"auths": {"https://index.docker.io/v1/": {"auth": "dTpw"}}}, HUB, ("u", "p")),
        ({"auths": {"r.x": {"identitytoken": "t"}}}, "r.x", ("", "t")),
        ({"auths": {"r.x": {"auth": "dTpw"}}}, "r.y", None),
        ({"auths": {"r.x": {"auth": "%%%"}}}, "r.x", None),
        ({"auths": {"r.x": {}}}, "r.x", None),
        ({"credHelpers": {"r.x": "../../bin/sh"}}, "r.x", None),
        ({"credHelpers": {"r.x": "a b"}}, "r.x", None),
        ({"credsStore": "not-there"}, "r.x", None),
        ({"auths": []}, "r.x", None),
    ],
)
async def test_docker_config(
    tmp_path: Path, document: object, registry: str, expected: object
) -> None:
    """Every way in which a login is written down, and every way in which it is not."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps(document))
    found = await DockerCredentials(config).find(registry)
    if isinstance(expected, tuple):
        expected = Credentials(*expected)
    assert found == expected


def test_password_is_not_shown() -> None:
    """A log line with credentials in it tells no secret."""
    assert "s3cret" not in repr(Credentials("user", "s3cret"))
