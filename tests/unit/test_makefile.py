"""The Makefile: what it installs can be read by whom the daemon and its engines run as."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

MAKEFILE = Path(__file__).parents[2] / "Makefile"
# As much of Python as matters here: each program in an environment of it writes down what it is
# called with, into a file and a folder of its own.
PYTHON = """#!/bin/sh
case "$1:$2" in
-m:venv) mkdir -p "$3/bin" && for name in python pip; do cp "$0" "$3/bin/$name"; done ;;
esac
made=$(dirname "$0")/$(echo "$@" | tr -cs 'a-z\\n' _)
mkdir -p "$made" && touch "$made/file"
"""


def test_a_strict_umask_closes_nothing(tmp_path: Path) -> None:
    """Neither the environment nor what is installed into it."""
    shutil.copy(MAKEFILE, tmp_path)
    (tmp_path / "pyproject.toml").touch()
    options = tmp_path / "backends" / "llamacpp" / "building" / "options.py"
    options.parent.mkdir(parents=True)
    options.touch()
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    targets = [f".venv/.{name}" for name in ("made", "dev", "engine", "packages")]
    make = ["make", f"PYTHON={python}", "LOCKED=1", *targets]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        make, cwd=tmp_path, umask=0o077, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    made = [tmp_path / ".venv", *(tmp_path / ".venv" / "bin").rglob("*")]
    assert any("install_quiet_require_hashes" in path.name for path in made)
    assert any("llamacpp_install" in path.name for path in made)
    assert {str(path) for path in made if not stat.S_IMODE(path.stat().st_mode) & 0o044} == set()
