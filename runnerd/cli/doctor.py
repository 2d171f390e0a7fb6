"""`runnerd doctor`: what is missing on this host, and how to get it.  Needs no daemon."""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import runnerd
from runnerd.cli.client import Client, DaemonError
from runnerd.cli.findings import Finding
from runnerd.cli.tables import print_json, print_table
from runnerd.errors import RunnerdError, StartupError
from runnerd.sockets.found import StrangersSocket
from runnerd.units import rounded_size

if TYPE_CHECKING:
    from runnerd.config import Settings

_FILES = 4096  # descriptors; each connection takes two
_FREE_BYTES = 8e9  # a small model, with room to spare
_MEMORY_BYTES = 4e9


def doctor(options: argparse.Namespace) -> int:
    """Print the findings; fail if something essential is missing."""
    findings = list(_findings(options.host))
    if options.json:
        print_json([asdict(finding) for finding in findings])
    else:
        rows = [(f.state, f.what, f.detail, f.remedy) for f in findings]
        print_table(("STATE", "WHAT", "FOUND", "REMEDY"), rows)
    return 1 if any(finding.state == "missing" for finding in findings) else 0


def _findings(host: str | None) -> Iterator[Finding]:
    settings, problem = _settings()
    daemon, state_dir = _daemon(host)
    if settings is not None and state_dir is not None:
        settings = settings.model_copy(update={"state_dir": state_dir})
    from runnerd.cli.doctor_engine import engine_findings

    theirs = daemon.state == "ok" and not _ours(state_dir)
    for finding in engine_findings(settings, theirs=theirs):
        yield _not_needed(finding) if theirs and finding.state == "missing" else finding
    yield Finding("Python", "ok", ".".join(map(str, sys.version_info[:3])))
    yield _compiler()
    yield _memory()
    yield _descriptors()
    yield _isolation()
    if settings is None:
        yield Finding("settings", "missing", problem, "correct them")
    else:
        if state_dir is not None:  # the daemon has seen to the rest
            yield _space(settings.state_dir)
        else:
            yield from _folders(settings)
            yield _port(settings)
    yield daemon
    yield from _misspelt()


def _not_needed(finding: Finding) -> Finding:
    """What only a daemon of one's own would lack: the one that answers is another user's."""
    detail = f"{finding.detail}: of no concern here, the daemon that answers has its own"
    return replace(finding, state="warning", detail=detail)


def _misspelt() -> Iterator[Finding]:
    """Variables that look like settings and are none."""
    from runnerd.config import Settings
    from runnerd.setting_sources import unknown_variables

    for problem in unknown_variables(Settings):
        yield Finding("environment", "warning", problem, "correct or unset it")


def _settings() -> tuple[Settings | None, str]:
    """Return the daemon's settings as this command would read them, else what is wrong."""
    from runnerd.config import load

    try:
        return load({}), ""
    except StartupError as error:
        return None, error.message.replace("\n", " ")


def _ours(state_dir: Path | None) -> bool:
    """Whether a daemon with this state folder, None where it names none, is this user's own."""
    try:
        return state_dir is not None and state_dir.stat().st_uid == os.geteuid()
    except OSError:
        return False


# the host


def _compiler() -> Finding:
    found = shutil.which("g++") or shutil.which("clang++")
    if found:
        return Finding("C++ compiler", "ok", found)
    return Finding("C++ compiler", "warning", "none: engines cannot be built", "apt install g++")


def _memory() -> Finding:
    from runnerd.resources.ram import ram

    total, free = ram()
    enough = free >= _MEMORY_BYTES
    detail = f"{rounded_size(free)} of {rounded_size(total)} free"
    remedy = "" if enough else "only small models will fit"
    return Finding("memory", "ok" if enough else "warning", detail, remedy)


def _descriptors() -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= _FILES:
        return Finding("file limit", "ok", "none" if hard < 0 else str(hard))
    return Finding("file limit", "warning", str(hard), "raise it: `ulimit -Hn`, LimitNOFILE=")


def _isolation() -> Finding:
    from runnerd.backends.sandbox import lacks

    if missing := lacks():
        return Finding("isolation", "warning", "; ".join(missing), "a newer kernel")
    return Finding("isolation", "ok", "engines reach their own files only (Landlock, seccomp)")


def _space(path: Path) -> Finding:
    """Say how much room a daemon's own directory has, which may be closed to us."""
    for existing in (path, *path.parents):
        try:
            free = shutil.disk_usage(existing).free
        except OSError:
            continue
        detail = f"{path} ({rounded_size(free)} free)"
        if free < _FREE_BYTES:
            return Finding("state directory", "warning", detail, "free some space for models")
        return Finding("state directory", "ok", detail)
    return Finding("state directory", "warning", f"{path} cannot be looked at")


def _folders(settings: Settings) -> Iterator[Finding]:
    for what, path in (("state", settings.state_dir), ("runtime", settings.runtime_dir)):
        existing = next(parent for parent in (path, *path.parents) if parent.exists())
        free = shutil.disk_usage(existing).free
        detail = f"{path} ({rounded_size(free)} free)"
        if not (existing.is_dir() and os.access(existing, os.W_OK)):
            yield Finding(
                f"{what} directory",
                "missing",
                f"{path} cannot be written to",
                f"choose another one with --{what}-dir",
            )
        elif what == "state" and free < _FREE_BYTES:
            yield Finding("state directory", "warning", detail, "free some space for models")
        else:
            yield Finding(f"{what} directory", "ok", detail)


def _port(settings: Settings) -> Finding:
    """Say whether a daemon could listen where it is told to."""
    if not settings.listen:
        return Finding("TCP port", "ok", "none wanted")
    from runnerd.relay.listening import check_listening, remote_refusal
    from runnerd.sockets.listeners import listen_tcp, parse_listen

    try:
        host, port = parse_listen(settings.listen)
        check_listening(settings)
        for listener in listen_tcp(host, port, remote_refusal=remote_refusal(settings)):
            listener.close()
    except RunnerdError as error:
        return Finding("TCP port", "missing", error.message, "see above, or --listen")
    except OSError as error:
        return Finding("TCP port", "missing", f"{settings.listen}: {error.strerror}", "--listen")
    return Finding("TCP port", "ok", f"{settings.listen} is free")


def _daemon(host: str | None) -> tuple[Finding, Path | None]:
    """Whether a daemon answers, as a finding, and the state folder that it names."""
    try:
        client = Client(host)
        version = client.json("GET", "/version")["version"]
        usage = client.json("GET", "/engines/df")
    except DaemonError as error:
        if _may_not_connect(error):
            advice = "usermod -aG runnerd $USER, log in"
            return Finding("daemon", "warning", error.message, advice), None
        if isinstance(error.__cause__, StrangersSocket):
            return Finding("daemon", "warning", error.message, "see above"), None
        return Finding("daemon", "warning", "none answers", "runnerd serve, or make serve"), None
    state_dir = Path(usage["state_dir"]) if "state_dir" in usage else None
    if version != runnerd.__version__:
        detail = f"{version} at {client.address}, this command is {runnerd.__version__}"
        advice = "restart it: systemctl restart runnerd"
        return Finding("daemon", "warning", detail, advice), state_dir
    return Finding("daemon", "ok", f"{version} at {client.address}"), state_dir


def _may_not_connect(error: DaemonError) -> bool:
    return isinstance(error.__cause__, PermissionError)
