"""Packs what a GPU machine without a network needs: `python -m bench.gpu.pack FOLDER`.

The sources are those of the engine that `runnerd install` builds, without what the server is not
built from (other backends, documents, tests, examples, vocabularies): 4 MB instead of 76.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import aiohttp

from runnerd.backends.llamacpp.building.options import VERSION
from runnerd.backends.llamacpp.building.sources import Index, cache_folder

_ROOT = Path(__file__).parents[2]
_SOURCES = "vendor/llama.cpp/"
_LEFT_OUT = re.compile(
    r"(docs|models|tests|examples|benches|grammars|scripts|\.github|\.devops|ci|media|gguf-py"
    r"|requirements|pocs|tools/ui/(src|tests|static|scripts)/|tools/mtmd/(tests|test-)|ggml/src/ggml-(?!cpu|cuda|base)[a-z0-9]+/)"
)
_PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (17, 24, 27, 28, 34)]


def pack(folder: Path, python: str) -> None:
    """Fetch and pack everything for `python` (as "3.12") on x86-64."""
    folder.mkdir(parents=True, exist_ok=True)
    _repack(asyncio.run(_sources()), folder / "llama.cpp.tar.xz")
    wheels = folder / "wheels"
    platforms = [part for name in _PLATFORMS for part in ("--platform", name)]
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:"]
    argv += ["--python-version", python, *platforms, "--dest", str(wheels), *_requirements()]
    subprocess.run(argv, check=True)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{folder}: {size / 2**20:.0f} MiB.  On the GPU machine, from the repository's root:")
    print(f"  pip install --no-index --find-links {folder}/wheels {' '.join(_names())}")
    print(f"  python -m bench gpu --sources {folder}")


async def _sources() -> Path:
    """Return the source distribution that `runnerd install` builds, its checksum verified."""
    async with aiohttp.ClientSession(trust_env=True) as http:
        return await Index(http, cache_folder(), print).sources(VERSION)


def _repack(archive: Path, target: Path) -> None:
    with tarfile.open(archive) as source, tarfile.open(target, "w:xz") as packed:
        for member in source:
            path = member.name.partition("/")[2]
            inside = path.removeprefix(_SOURCES)
            if member.isfile() and inside != path and not _LEFT_OUT.match(inside):
                member.name, member.pax_headers = f"llama.cpp/{inside}", {}
                packed.addfile(member, source.extractfile(member))


def _requirements() -> list[str]:
    """Return runnerd's dependencies, what the bench itself imports, and what builds the engine."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], "httpx", "numpy", "cmake", "ninja"]


def _names() -> list[str]:
    return [re.split(r"[<>=\[;~! ]", requirement)[0] for requirement in _requirements()]


def main() -> None:
    """Read the arguments and pack."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu.pack", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="the other machine's (default: 3.12)")
    options = parser.parse_args()
    pack(options.folder, options.python)


if __name__ == "__main__":
    main()
