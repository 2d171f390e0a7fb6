"""A user's logins elsewhere: at registries and at the hub of models.

A login belongs to who has made it.  The owner's are the daemon's own (`docker login`, `hub_token`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

_DOCKER_HUB = "registry-1.docker.io"
_ALIASES = {
    "docker.io": _DOCKER_HUB,
    "index.docker.io": _DOCKER_HUB,
    "index.docker.io/v1": _DOCKER_HUB,
    "hf.co": "huggingface.co",
    "www.hf.co": "huggingface.co",
    "www.huggingface.co": "huggingface.co",
}

MOST_LOGINS = 20
"""How many one user may have."""


@dataclass(frozen=True, slots=True)
class Login:
    """What a user shows at one host[:port]: a name and a password, or a token without a name.

    `created` is Unix time in seconds.
    """

    user_id: str
    host: str
    username: str
    secret: str = field(repr=False)
    created: float = 0.0


def login_host(text: str) -> str:
    """The host[:port] that is asked where somebody names a registry or the hub."""
    plain = text.strip().lower()
    plain = (plain.partition("://")[2] or plain).rstrip("/")
    return _ALIASES.get(plain, plain)
