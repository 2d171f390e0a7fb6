"""Who alone may do what: processes, other hosts, databases, brokers.

Import contracts (in pyproject.toml) say which rooms may import which.  These are about single
names, which contracts do not see.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.rules.sources import Source, sources


@dataclass(frozen=True, slots=True)
class Reserved:
    """Names that only some modules may use.  `why` is the rule in a sentence."""

    names: tuple[str, ...]
    modules: tuple[str, ...]
    why: str


RESERVED = (
    Reserved(
        ("aiohttp.ClientSession", "aiohttp.TCPConnector"),
        (
            "runnerd.outbound.client",  # to other hosts
            "runnerd.backends.engine_http",  # to engines, over Unix sockets
            "runnerd.backends.guard",
            "runnerd.backends.llamacpp.install",  # before there is a daemon
            "runnerd.jobs.fleet.daemon_client",  # the worker's, to its own daemon
            "runnerd.cli.ui",  # a browser's, to its own daemon
        ),
        "connections to other hosts are made by runnerd.outbound alone",
    ),
    Reserved(
        ("subprocess", "asyncio.create_subprocess_exec", "os.posix_spawn"),
        (
            "runnerd.backends.process",
            "runnerd.backends.helper_programs",
            "runnerd.backends.ending",  # it executes nothing
        ),
        "processes are started by runnerd.backends.process alone",
    ),
    Reserved(
        ("psutil", "pynvml"),
        ("runnerd.resources.ram", "runnerd.resources.gpus"),
        "what the host has is looked at by runnerd.resources alone",
    ),
    Reserved(("gguf",), ("runnerd.models.tiny",), "GGUF files are written in one place"),
    Reserved(
        ("sqlite3",),
        (
            "runnerd.database.database",
            "runnerd.database.failures",
            "runnerd.database.migrations",
            "runnerd.database.opening",
            "runnerd.database.readers",
            "runnerd.database.restoring",
            "runnerd.database.writer",
        ),
        "SQLite is spoken to by runnerd.database alone",
    ),
    Reserved(
        ("aio_pika", "aio_pika.abc", "aio_pika.exceptions", "aiormq"),
        (
            "runnerd.cli.worker",  # looks whether the extra is there
            "runnerd.jobs.fleet.broker",
            "runnerd.jobs.fleet.broker_calls",
            "runnerd.jobs.fleet.amqp_connection",
            "runnerd.jobs.fleet.broker_channel",
        ),
        "RabbitMQ is asked through runnerd.jobs.fleet.broker_channel, whose calls end in time and"
        " when who asks is cancelled",
    ),
    Reserved(
        ("redis", "redis.asyncio", "redis.asyncio.client", "redis.exceptions"),
        (
            "runnerd.cli.worker",  # looks whether the extra is there
            "runnerd.jobs.fleet.job_index",
            "runnerd.jobs.fleet.rebuild_access",
            "runnerd.jobs.fleet.announcements",
            "runnerd.jobs.fleet.redis_client",
        ),
        "Redis is spoken to by runnerd.jobs.fleet alone",
    ),
    Reserved(
        (
            *("opentelemetry", "opentelemetry.context", "opentelemetry.trace"),
            "opentelemetry.exporter.otlp.proto.http.trace_exporter",
            *("opentelemetry.sdk.resources", "opentelemetry.sdk.trace"),
            "opentelemetry.sdk.trace.export",
            "opentelemetry.sdk.trace.id_generator",
            "opentelemetry.sdk.trace.sampling",
        ),
        ("runnerd.observability.trace_export",),
        "OpenTelemetry's libraries are an extra, loaded where traces are sent",
    ),
    Reserved(
        ("runnerd.observability.trace_export",),
        ("runnerd.observability.traces",),
        "who sends no traces loads none of OpenTelemetry's libraries",
    ),
)


def reserved_names() -> Iterator[str]:
    """Names that are reserved for some modules are used by no other one."""
    for source in sources():
        used = set(_used(source))
        for rule in RESERVED:
            if source.module in rule.modules:
                continue
            for name in rule.names:
                if name in used:
                    yield f"{source.path}: uses {name}; {rule.why}"


def _used(source: Source) -> Iterator[str]:
    """Every module and every dotted name of one that a source uses, also under another name.

    What only types need does not count.
    """
    aliases: dict[str, str] = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
                aliases[alias.asname or alias.name] = alias.name
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            for alias in node.names:
                aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and (name := _dotted(node.func, aliases)):
            yield name


def _dotted(node: ast.expr, aliases: Mapping[str, str]) -> str:
    if isinstance(node, ast.Name):
        return aliases.get(node.id, "")
    if isinstance(node, ast.Attribute) and (before := _dotted(node.value, aliases)):
        return f"{before}.{node.attr}"
    return ""
