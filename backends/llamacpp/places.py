"""Where engines lie, each under a name by which a setting or a configuration chooses it.

Ours lie in folders named after what they were built for (`cpu`, `cuda`, `rocm`, `vulkan`,
`portable`), below the Python environment (`--into-venv`) or below the daemon's state directory, so
that several can be there at once.  `path` is the first one that is already on this host.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SERVER_NAME = "llama-server"
ON_PATH = "path"
BUNDLED = "bundled"  # in a wheel of llama-cpp-python that was built with the server
CONFIGURED = "configured"

_PREFERRED = ("cuda", "rocm", "vulkan", "cpu")
_DESCRIPTION = "engine.json"
_BUILDING = ".building"
_OLD = ".old"

# The daemon's PATH is often shorter than a user's: where Homebrew and llama.cpp's images put it.
_USUAL = ("/usr/local/bin", "/usr/bin", "/home/linuxbrew/.linuxbrew/bin", "/opt/homebrew/bin",
          "/opt/llama.cpp/bin", "/app")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """A file that may be a server; `ours` says that `runnerd install` made it."""

    name: str
    path: Path
    ours: bool = False


def environment_root() -> Path:
    """Return where engines lie that were built into the running environment."""
    return Path(sys.prefix) / "lib" / "runnerd" / "engines"


def server_in(root: Path, name: str) -> Path:
    """Return where the server of a named engine is."""
    return root / name / "bin" / SERVER_NAME


def installed(root: Path) -> Iterator[Place]:
    """Find the engines in one folder, those for GPUs first."""
    try:
        names = [entry.name for entry in os.scandir(root) if entry.is_dir()]
    except OSError:
        return
    for name in sorted(names, key=_rank):
        if not name.endswith((_BUILDING, _OLD)) and _executable(server := server_in(root, name)):
            yield Place(name, server, ours=True)


def found_here(state_dir: Path) -> Iterator[Place]:
    """Find every engine on this host, in the order in which they are taken.

    Of two with one name the daemon's own comes first.
    """
    ours = [*installed(state_dir), *installed(environment_root())]
    yield from sorted(ours, key=lambda place: _rank(place.name))
    bundled = Path(sysconfig.get_paths()["purelib"]) / "bin" / SERVER_NAME
    if _executable(bundled):
        yield Place(BUNDLED, bundled, ours=True)
    if (there := already_there()) is not None:
        yield there


def already_there() -> Place | None:
    """Return the server that a distribution, Homebrew, an image or the owner has put here."""
    found = shutil.which(SERVER_NAME) or shutil.which(SERVER_NAME, path=":".join(_USUAL))
    return None if found is None else Place(ON_PATH, Path(found).absolute())


def variants(server: Path) -> list[str]:
    """The processors that a portable server has code for; none where it has been built for one."""
    plugins = server.resolve().parent.glob("libggml-cpu-*.so")
    return sorted(path.stem.removeprefix("libggml-cpu-") for path in plugins)


def description(server: Path) -> dict[str, str]:
    """The installer's notes beside an engine that it built; empty for any other engine."""
    try:
        document = json.loads((server.parents[1] / _DESCRIPTION).read_text("utf-8"))
    except (OSError, ValueError, IndexError):
        return {}
    if not isinstance(document, dict):
        return {}
    return {key: value for key, value in document.items() if isinstance(value, str)}


def describe(folder: Path, **facts: str) -> None:
    """Write down what an engine of ours is."""
    file = folder / _DESCRIPTION
    file.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    file.chmod(0o644)  # whatever the umask


def make_root(root: Path) -> None:
    """Make the folder that engines lie in, where it is not there."""
    if root == environment_root():
        make_open(root.parent)
    else:
        root.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    make_open(root)


def make_open(folder: Path) -> None:
    """Make a folder for what engines consist of; one that is there stays as it is.

    Whatever the umask of whoever installs: the daemon may be another user, and engines may run as
    users of their own.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(0o755)


def building(folder: Path) -> Path:
    """Return where an engine grows before it gets its own name."""
    return folder.with_name(folder.name + _BUILDING)


def put_in_place(folder: Path) -> None:
    """Give what has grown its name, in the place of an older one."""
    old = folder.with_name(folder.name + _OLD)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(building(folder), folder)
    shutil.rmtree(old, ignore_errors=True)


def _rank(name: str) -> tuple[int, str]:
    kind = name.partition("-")[0]
    return (_PREFERRED.index(kind) if kind in _PREFERRED else len(_PREFERRED)), name


def _executable(path: Path) -> bool:
    return os.access(path, os.X_OK) and path.is_file()
