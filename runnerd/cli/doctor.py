"""`runnerd doctor`: what is missing on this host, and how to get it.  Needs no daemon."""

from __future__ import annotations

import argparse
import glob
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from runnerd.cli.client import default_address
from runnerd.cli.tables import print_json, print_table


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `state` is ok, warn or missing, `remedy` a command."""

    what: str
    state: str
    detail: str
    remedy: str = ""


def doctor(options: argparse.Namespace) -> int:
    """Print the findings; fail if something essential is missing."""
    findings = list(_findings())
    if options.json:
        print_json([asdict(finding) for finding in findings])
    else:
        rows = [(f.state, f.what, f.detail, f.remedy) for f in findings]
        print_table(("STATE", "WHAT", "FOUND", "REMEDY"), rows)
    return 1 if any(finding.state == "missing" for finding in findings) else 0


def _findings() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    old = sys.version_info < (3, 11)
    yield Finding("python", "missing" if old else "ok", version, "apt install python3.11" * old)
    yield _engine()
    compiler = shutil.which("g++") or shutil.which("clang++")
    yield Finding(
        "C++ compiler",
        "ok" if compiler else "warn",
        compiler or "none",
        "" if compiler else "apt install g++",
    )
    cards = glob.glob("/dev/nvidia[0-9]*")
    yield Finding("GPU", "ok" if cards else "warn", ", ".join(cards) or "none; CPU only")
    yield from _folders()
    yield Finding("daemon address", "ok", default_address())


def _engine() -> Finding:
    bundled = Path(sysconfig.get_paths()["purelib"]) / "bin" / "llama-server"
    found = str(bundled) if os.access(bundled, os.X_OK) else shutil.which("llama-server")
    if found:
        return Finding("llama-server", "ok", found)
    return Finding("llama-server", "missing", "none", "runnerd install llama.cpp")


def _folders() -> Iterator[Finding]:
    from runnerd.config import load

    settings = load({})
    for what, path in (("state", settings.state_dir), ("runtime", settings.runtime_dir)):
        existing = next(parent for parent in (path, *path.parents) if parent.exists())
        writable = os.access(existing, os.W_OK)
        free = shutil.disk_usage(existing).free / 1e9
        yield Finding(
            f"{what} directory",
            "ok" if writable else "missing",
            f"{path} ({free:.1f} GB free)" if writable else f"{path} is not writable",
            "" if writable else f"choose another one with --{what}-dir",
        )
