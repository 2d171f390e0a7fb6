"""`runnerd doctor`: what is missing on this host, and how to get it.  Needs no daemon."""

from __future__ import annotations

import argparse
import glob
import os
import resource
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import runnerd
from runnerd.cli.client import Client, DaemonError
from runnerd.cli.tables import print_json, print_table
from runnerd.errors import RunnerdError, StartupError

if TYPE_CHECKING:
    from runnerd.config import Settings

_FILES = 4096  # descriptors; each connection takes two
_FREE_BYTES = 8e9  # a small model, with room to spare
_MEMORY_BYTES = 4e9
_TIMEOUT = 20.0  # seconds for one program to answer


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `state` is ok, warning or missing, `remedy` what to do."""

    what: str
    state: str
    detail: str
    remedy: str = ""


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
    yield Finding("Python", "ok", ".".join(map(str, sys.version_info[:3])))
    yield from _engine()
    yield _compiler()
    yield _memory()
    yield _descriptors()
    daemon = _daemon(host)
    try:
        from runnerd.config import load

        settings = load({})
    except StartupError as error:
        yield Finding("settings", "missing", error.message.replace("\n", " "), "correct them")
    else:
        yield from _folders(settings)
        if daemon.state != "ok":
            yield _port(settings)
    yield daemon


# the engine


def _engine() -> Iterator[Finding]:
    bundled = Path(sysconfig.get_paths()["purelib"]) / "bin" / "llama-server"
    found = str(bundled) if os.access(bundled, os.X_OK) else shutil.which("llama-server")
    cards = glob.glob("/dev/nvidia[0-9]*")
    if found is None:
        yield Finding("llama-server", "missing", "none", "runnerd install llama.cpp")
        yield Finding("GPU", "ok" if cards else "warning", ", ".join(cards) or "none: CPU only")
        return
    version = _said(found, "--version")
    if version is None:
        remedy = "runnerd install llama.cpp, or see what it says when you start it"
        yield Finding("llama-server", "missing", f"{found} does not run", remedy)
        return
    yield Finding("llama-server", "ok", f"{found} ({version.splitlines()[0]})")
    yield _gpus(cards, _said(found, "--list-devices") or "")


def _gpus(cards: list[str], devices: str) -> Finding:
    """Hold the driver's cards against the devices that the engine has been built for."""
    seen = [line.strip() for line in devices.splitlines() if line.startswith(" ") and ":" in line]
    if seen:
        return Finding("GPU", "ok", "; ".join(seen))
    if not cards:
        return Finding("GPU", "warning", "none: CPU only")
    return Finding(
        "GPU",
        "warning",
        f"{', '.join(cards)}, but the engine was built without it",
        "install the CUDA toolkit (nvcc), then `runnerd install llama.cpp`",
    )


def _said(program: str, option: str) -> str | None:
    """Return what a program prints for an option, None where it does not run."""
    try:
        done = subprocess.run(
            [program, option], capture_output=True, text=True, timeout=_TIMEOUT, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    text = (done.stdout + done.stderr).strip()
    return text if done.returncode == 0 and text else None


def _compiler() -> Finding:
    found = shutil.which("g++") or shutil.which("clang++")
    if found:
        return Finding("C++ compiler", "ok", found)
    return Finding("C++ compiler", "warning", "none: engines cannot be built", "apt install g++")


# the host


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    enough = memory.available >= _MEMORY_BYTES
    detail = f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free"
    remedy = "" if enough else "only small models will fit"
    return Finding("memory", "ok" if enough else "warning", detail, remedy)


def _descriptors() -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= _FILES:
        return Finding("file limit", "ok", "none" if hard < 0 else str(hard))
    return Finding("file limit", "warning", str(hard), "raise it: `ulimit -Hn`, LimitNOFILE=")


def _folders(settings: Settings) -> Iterator[Finding]:
    for what, path in (("state", settings.state_dir), ("runtime", settings.runtime_dir)):
        existing = next(parent for parent in (path, *path.parents) if parent.exists())
        free = shutil.disk_usage(existing).free
        detail = f"{path} ({free / 1e9:.1f} GB free)"
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
    from runnerd.sockets.listeners import listen_tcp, parse_listen

    try:
        host, port = parse_listen(settings.listen)
        for listener in listen_tcp(host, port, allow_remote=settings.allow_remote):
            listener.close()
    except RunnerdError as error:
        return Finding("TCP port", "missing", error.message, "see above, or --listen")
    except OSError as error:
        return Finding("TCP port", "missing", f"{settings.listen}: {error.strerror}", "--listen")
    return Finding("TCP port", "ok", f"{settings.listen} is free")


def _daemon(host: str | None) -> Finding:
    try:
        client = Client(host)
        version = client.json("GET", "/version")["version"]
    except DaemonError as error:
        if _may_not_connect(error):
            return Finding("daemon", "warning", error.message, "usermod -aG runnerd $USER, log in")
        return Finding("daemon", "warning", "none answers", "runnerd serve, or make serve")
    if version != runnerd.__version__:
        detail = f"{version} at {client.address}, this command is {runnerd.__version__}"
        return Finding("daemon", "warning", detail, "restart it: systemctl restart runnerd")
    return Finding("daemon", "ok", f"{version} at {client.address}")


def _may_not_connect(error: DaemonError) -> bool:
    return isinstance(error.__cause__, PermissionError)
