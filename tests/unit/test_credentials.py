"""Credentials as `docker login` and its helpers keep them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from runnerd.pulls.credentials import HUB, Credentials, DockerCredentials

AUTH = base64.b64encode(b"me:secret\0").decode()


async def found(tmp_path: Path, config: Any, registry: str = "example.com") -> Credentials | None:
    """What is found for a registry in such a file."""
    path = tmp_path / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return await DockerCredentials(path).find(registry)


@pytest.mark.parametrize(
    ("login", "user", "password"),
    [
        ({"auth": AUTH}, "me", "secret"),
        ({"username": "me", "password": "secret"}, "me", "secret"),
        ({"auth": AUTH, "identitytoken": "token"}, "", "token"),
        ({"auth": base64.b64encode(b"me:a:b").decode()}, "me", "a:b"),
    ],
)
@pytest.mark.parametrize("key", ["example.com", "https://example.com"])
async def test_logins(
    tmp_path: Path, key: str, login: dict[str, str], user: str, password: str
) -> None:
    """In each form that Docker writes; an identity token goes before a password."""
    assert await found(tmp_path, {"auths": {key: login}}) == Credentials(user, password)


async def test_the_hub_has_several_names(tmp_path: Path) -> None:
    """Docker writes the oldest of them."""
    config = {"auths": {"https://index.docker.io/v1/": {"auth": AUTH}}}
    assert await found(tmp_path, config, HUB) == Credentials("me", "secret")
    assert await found(tmp_path, config) is None


@pytest.mark.parametrize(
    "config",
    ["", "{", "[]", {"auths": []}, {"auths": {"example.com": {"auth": "!"}}},
     {"auths": {"example.com": {"auth": "bWU="}}}, {"auths": {"example.com": {}}},
     {"auths": {"example.com": {"auth": "//79"}}}, {"credsStore": "../../bin/sh"},
     {"credHelpers": {"example.com": "no such helper"}}, "[" * 100_000],
)  # fmt: skip
async def test_what_cannot_be_used(tmp_path: Path, config: Any) -> None:
    """There are none then: a public model needs none."""
    assert await found(tmp_path, config) is None


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A helper program; what it prints is for the test to say."""
    program = tmp_path / "bin" / "docker-credential-box"
    program.parent.mkdir()
    program.touch(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program


@pytest.mark.parametrize(
    "config",
    [{"credsStore": "box"}, {"credHelpers": {"example.com": "box"}},
     {"credHelpers": {"example.com": "box"}, "auths": {"example.com": {"auth": AUTH}}}],
)  # fmt: skip
async def test_helpers(tmp_path: Path, helper: Path, config: Any) -> None:
    """They are asked by name, for a registry; one of its own goes before a login."""
    helper.write_text(
        "#!/bin/sh\nread -r server || true\n"
        'echo "{\\"Username\\": \\"$1\\", \\"Secret\\": \\"$server\\"}"\n'
    )
    assert await found(tmp_path, config) == Credentials("get", "example.com")


@pytest.mark.parametrize("script", ["exit 1", "echo nonsense", "echo '{}'", "echo '[1]'"])
async def test_a_helper_that_has_nothing(tmp_path: Path, helper: Path, script: str) -> None:
    """The login in the file counts."""
    helper.write_text(f"#!/bin/sh\n{script}\n")
    config = {"credHelpers": {"example.com": "box"}, "auths": {"example.com": {"auth": AUTH}}}
    assert await found(tmp_path, config) == Credentials("me", "secret")


def test_passwords_are_not_printed() -> None:
    """Logs and tracebacks show objects."""
    assert "secret" not in repr(Credentials("me", "secret"))
    assert Credentials("me", "secret").basic == "Basic " + base64.b64encode(b"me:secret").decode()
