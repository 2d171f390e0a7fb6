"""llama-cpp-python's own server, around the libraries of an engine that is here.

It is what runs where no native server does, and what the tests hold against the native one.  Its
package is installed without compiling llama.cpp a second time.
"""

from __future__ import annotations

import asyncio
import os
import sys
import sysconfig
from pathlib import Path

from runnerd.backends.commands import run_command
from runnerd.backends.llamacpp import places
from runnerd.backends.llamacpp.building.options import VERSION
from runnerd.backends.llamacpp.building.sources import cache_folder
from runnerd.backends.llamacpp.fallback import has_packages
from runnerd.backends.process import INSTALLED

_PIP_SECONDS = 1800.0


def install_python_server(root: Path) -> int:
    """Install the package and link an engine's libraries into it; return the exit status."""
    if has_packages():
        return 0
    archive = cache_folder() / f"llama_cpp_python-{VERSION}.tar.gz"
    package = str(archive) if archive.exists() else "llama-cpp-python"
    wanted = f"{package}[server]" if archive.exists() else f"{package}[server]=={VERSION}"
    print("Installing llama-cpp-python's server", file=sys.stderr)
    environment = {**os.environ, "CMAKE_ARGS": "-DLLAMA_BUILD=OFF -DLLAVA_BUILD=OFF"}
    # A wheel without libraries in pip's cache would be taken for a whole one later.
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-cache-dir", wanted]
    done = asyncio.run(
        run_command(
            command,
            timeout=_PIP_SECONDS,
            environment=environment,
            sandbox=None,
            umask=INSTALLED,
        )
    )
    if done.code == 0:
        _link_libraries(root)
        return 0
    print(done.output.rstrip(), file=sys.stderr)
    return 1


def _link_libraries(root: Path) -> None:
    libraries = Path(sysconfig.get_paths()["purelib"]) / "llama_cpp" / "lib"
    places.make_open(libraries)
    for place in places.installed(root):
        for library in (place.path.parents[1] / "lib").glob("lib*.so*"):
            link = libraries / library.name
            link.unlink(missing_ok=True)
            link.symlink_to(library)
        return
