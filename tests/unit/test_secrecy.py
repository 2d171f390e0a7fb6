"""runnerd.secrecy: what the daemon keeps from other processes of its user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = """
import os
from pathlib import Path
from runnerd import secrecy
print(secrecy.take_from_environment(["RUNNERD_HUB_TOKEN", "RUNNERD_OUTBOUND_PROXY"]))
kept = Path("/proc/self/environ").read_bytes()
print(b"very secret" in kept, b"OTHER=public" in kept, "OTHER" in os.environ)
print([name for name in os.environ if name.lower().startswith("runnerd_hub")])
secrecy.close_to_others()
print(os.stat("/proc/self/environ").st_uid, Path("/proc/self/status").is_file())
"""


def test_secrets_leave_the_environment() -> None:
    """Also the memory that they were handed over in, whatever their name's case; others stay."""
    environment = {**os.environ, "Runnerd_Hub_Token": "very secret", "OTHER": "public"}
    environment.pop("RUNNERD_HUB_TOKEN", None)
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "{'RUNNERD_HUB_TOKEN': 'very secret'}",
        "False True True",
        "[]",
        "0 True",
    ]
