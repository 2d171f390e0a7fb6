"""The environment variables of ProtoLLM's API and workers, read as they are.

What a site has in its `.env` for ProtoLLM serves runnerd's worker unchanged.  Unlike there, every
variable has a default, and one that cannot be read is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from runnerd.errors import InvalidConfiguration
from runnerd.jobs.fleet.protollm.result_keys import ResultKeys
from runnerd.jobs.fleet.protollm.task_message import DEFAULT_QUEUE


@dataclass(frozen=True, slots=True)
class FleetEnvironment:
    """Where broker and results are, and what ProtoLLM's two sides have agreed on.

    `answer_timeout` is how many seconds an API waits for a result.
    """

    amqp_url: str
    redis_url: str
    queue: str
    keys: ResultKeys
    base_priority: int
    answer_timeout: float


def read(environ: Mapping[str, str]) -> FleetEnvironment:
    """Read the variables.  Raises InvalidConfiguration."""
    login = quote(environ.get("RABBIT_MQ_LOGIN") or "guest", safe="")
    password = quote(environ.get("RABBIT_MQ_PASSWORD") or "guest", safe="")
    broker = environ.get("RABBIT_MQ_HOST") or "localhost"
    results = environ.get("REDIS_HOST") or "localhost"
    defaults = ResultKeys()
    return FleetEnvironment(
        amqp_url=environ.get("RUNNERD_AMQP_URL")
        or f"amqp://{login}:{password}@{broker}:{_port(environ, 'RABBIT_MQ_PORT', 5672)}/",
        redis_url=environ.get("RUNNERD_REDIS_URL")
        or f"redis://{results}:{_port(environ, 'REDIS_PORT', 6379)}/0",
        queue=environ.get("QUEUE_NAME") or DEFAULT_QUEUE,
        keys=ResultKeys(
            environ.get("REDIS_PREFIX") or defaults.prefix,
            environ.get("REDIS_PREFIX_FOR_STATUS") or defaults.status_prefix,
            environ.get("REDIS_PREFIX_FOR_ANSWER") or defaults.answer_prefix,
        ),
        base_priority=_number(environ, "BASE_PRIORITY", 1, most=255),
        answer_timeout=float(_number(environ, "TIMEOUT", 300, most=86400)),
    )


def _port(environ: Mapping[str, str], name: str, default: int) -> int:
    return _number(environ, name, default, least=1, most=65535)


def _number(
    environ: Mapping[str, str], name: str, default: int, *, least: int = 0, most: int
) -> int:
    text = environ.get(name, "").strip() or str(default)
    if not text.isascii() or not text.isdecimal() or not least <= int(text[:9]) <= most:
        raise InvalidConfiguration(f"{name}={text[:40]!r} is no number from {least} to {most}")
    return int(text[:9])
