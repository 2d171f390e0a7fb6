"""Credentials for registries, from where `docker login` puts them.

`~/.docker/config.json` holds them per registry, or names a helper program that does.  A helper is
run directly, without a shell, under a name that can only be `docker-credential-<word>`, with the
registry on its standard input; what it prints is never logged.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from runnerd import threads
from runnerd.backends.helper_programs import ask_program
from runnerd.regular import read

log = logging.getLogger(__name__)

HUB = "registry-1.docker.io"

_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", HUB)
_HELPER = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_CONFIG_BYTES = 2**20
_HELPER_TIMEOUT = 15.0  # seconds
_IDENTITY_USER = "<token>"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user's name and password, or an identity token (then without a name)."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r})"

    @property
    def is_identity(self) -> bool:
        """Whether this is an identity token, to be exchanged by OAuth."""
        return self.user in ("", _IDENTITY_USER)

    @property
    def basic(self) -> str:
        """The value of an Authorization header."""
        pair = f"{self.user}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")


class _Login(msgspec.Struct, rename="lower"):
    auth: str = ""
    username: str = ""
    password: str = ""
    identitytoken: str = ""


class _Config(msgspec.Struct, rename="camel"):
    auths: dict[str, _Login] = {}
    creds_store: str = ""
    cred_helpers: dict[str, str] = {}


class _HelperResponse(msgspec.Struct, rename="pascal"):
    username: str = ""
    secret: str = ""


class CredentialSource(Protocol):
    """Has credentials; `command` is how to log in anew."""

    @property
    def command(self) -> str: ...

    async def find(self, registry: str) -> Credentials | None:
        """The credentials for a registry's `host[:port]`, None where there are none."""
        ...


class DockerCredentials:
    """Looks credentials up anew each time: the owner may log in while the daemon runs."""

    command = "docker login"

    def __init__(self, config: Path | None = None) -> None:
        folder = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
        self._path = config or Path(folder, "config.json")

    async def find(self, registry: str) -> Credentials | None:
        """Return the credentials for a registry's `host[:port]`, None where there are none."""
        config = await threads.run(self._read)
        if config is None:
            return None
        keys = _HUB_KEYS if registry == HUB else (registry, f"https://{registry}")
        for key in keys:
            if (helper := config.cred_helpers.get(key)) and (found := await _ask(helper, key)):
                return found
        for key in keys:
            if (login := config.auths.get(key)) and (found := _decode(login)):
                return found
        if config.creds_store:
            for key in keys:
                if found := await _ask(config.creds_store, key):
                    return found
        return None

    def _read(self) -> _Config | None:
        try:
            content = read(self._path, most=_CONFIG_BYTES, follow=True)
            return msgspec.json.decode(content, type=_Config)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            log.warning("%s cannot be read: %s", self._path, type(error).__name__)
            return None


def _decode(login: _Login) -> Credentials | None:
    if login.identitytoken:
        return Credentials("", login.identitytoken)
    if login.username:
        return Credentials(login.username, login.password)
    with suppress(binascii.Error, UnicodeDecodeError, ValueError):
        user, colon, password = base64.b64decode(login.auth, validate=True).decode().partition(":")
        if colon and user:
            return Credentials(user, password.rstrip("\0"))
    return None


async def _ask(helper: str, server: str) -> Credentials | None:
    """What a credential helper has for `server`; it has nothing when it fails."""
    program: str | None = None
    if _HELPER.fullmatch(helper):
        program = await threads.run(shutil.which, f"docker-credential-{helper}")
    if program is None:
        log.warning("the credential helper %r is not installed", helper[:64])
        return None
    try:
        printed = await ask_program([program, "get"], server, seconds=_HELPER_TIMEOUT)
    except TimeoutError:
        log.warning("the credential helper %s did not answer", helper)
        return None
    if printed is None:
        return None
    try:
        response = msgspec.json.decode(printed, type=_HelperResponse)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        log.warning(
            "the credential helper %s printed no credentials that can be read; none are sent",
            helper,
        )
        return None
    return Credentials(response.username, response.secret) if response.secret else None
