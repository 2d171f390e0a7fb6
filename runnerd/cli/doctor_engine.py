"""What `runnerd doctor` finds out about the engine: it loads models before it is green."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runnerd.backends.engine_users import EngineUsers
from runnerd.backends.llamacpp import hardware
from runnerd.backends.llamacpp.native_server import NativeServer
from runnerd.backends.llamacpp.server import ServerFinder
from runnerd.backends.llamacpp.settings import LlamaCppSettings, parse_settings
from runnerd.cli.findings import Finding
from runnerd.errors import RunnerdError

if TYPE_CHECKING:
    from runnerd.config import Settings

_INSTALL = "runnerd install llama.cpp"


@dataclass(frozen=True, slots=True)
class _Engines:
    """The servers that run here, and why others do not; `chosen` is the one that is used."""

    chosen: NativeServer | None
    problem: str
    others: list[str]


def engine_findings(settings: Settings | None, *, theirs: bool = False) -> Iterator[Finding]:
    """Yield what there is to know; a card that nothing uses comes first.

    `theirs`: the daemon that answers is another user's, whose rights are not this command's.
    """
    cards = hardware.look()
    try:
        own = parse_settings({} if settings is None else settings.backends.get("llama.cpp", {}))
        state = Path("/nonexistent") if settings is None else settings.state_dir / "engines"
        engines = asyncio.run(_look(own, state))
    except RunnerdError as error:
        yield Finding("llama-server", "missing", error.message, _INSTALL)
        return
    server = engines.chosen
    if cards.cards and (server is None or not server.devices):
        detail = f"{', '.join(cards.cards)}: not used by the engine"
        yield Finding("GPU", "missing", detail, cards.remedy)
    if server is None:
        yield Finding("llama-server", "missing", engines.problem or "none", _INSTALL)
    else:
        yield from _server(server)
    for other in engines.others:
        yield Finding("another engine", "warning", other, "")
    if server is not None and server.devices:
        yield Finding("GPU", "ok", ", ".join(server.devices))
    elif not cards.cards:
        yield Finding("GPU", "warning", "none: CPU only")
    yield _users(own, state, theirs=theirs)


def _users(own: LlamaCppSettings, state_dir: Path, *, theirs: bool) -> Finding:
    """As whom the engines of a daemon would run that this user starts."""
    users = EngineUsers(own.users, state_dir)
    if theirs:
        detail = (
            f"of a daemon that you start: {users.words}; the log of this one says it of its own"
        )
        return Finding("engine users", "ok", detail)
    if users.complaint:
        return Finding("engine users", "warning", users.words, "start the daemon as root")
    return Finding("engine users", "ok", users.words)


def _server(server: NativeServer) -> Iterator[Finding]:
    found = f"{server.path} ({server.words})"
    if server.warning:
        yield Finding("llama-server", "warning", server.warning, f"{_INSTALL} --rebuild")
    else:
        yield Finding("llama-server", "ok", f"{found}, has loaded models here")
    if server.lacks:
        yield Finding("llama-server", "warning", f"lacks: {'; '.join(server.lacks)}", _INSTALL)


async def _look(own: LlamaCppSettings, state_dir: Path) -> _Engines:
    finder = ServerFinder(own, state_dir)
    problems: list[str] = []
    for place in finder.candidates():
        try:
            await finder.look_at(place)
        except RunnerdError as error:
            problems.append(error.message)
    try:
        chosen = await finder.find()
    except RunnerdError as error:
        return _Engines(None, error.message, [])
    if chosen is None:
        return _Engines(None, "; ".join(problems), [])
    return _Engines(chosen, "", problems)
