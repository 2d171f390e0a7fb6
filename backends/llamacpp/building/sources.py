"""Fetching: llama.cpp's sources, and CMake and Ninja where the host has none.

All three come from the Python package index, by the checksums that it states; of the version that
this runnerd is tested with the checksum is written down here.  pip is not needed: its cache and its
choice of wheels have no say, and `uv tool install` brings none.  An index of one's own
(PIP_INDEX_URL, UV_INDEX_URL, UV_DEFAULT_INDEX) is asked in its place.  What was fetched is kept in
the user's cache.
"""

from __future__ import annotations

import hashlib
import html
import itertools
import logging
import os
import platform
import re
import tarfile
import zipfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

from runnerd import threads
from runnerd.backends.llamacpp.building.options import CHECKSUM, VERSION
from runnerd.errors import BackendFailure

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

_PACKAGE = "llama-cpp-python"
_INDEX = "https://pypi.org/simple"
_INDEX_VARIABLES = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
_TYPE = "application/vnd.pypi.simple.v1+json"
_CHUNK = 2**20
_TIMEOUT = 60.0  # without a byte
_LARGEST = 400 * 2**20
_NESTED = "vendor/llama.cpp/"
_FIRST_MEMBERS = 500  # git's own files lie in front
_LARGEST_LISTING = 32 * 2**20
_COMMIT = re.compile(rb"[0-9a-f]{40}\s*$")
_LEFT_OUT = ("models/", "docs/", "media/", ".git/")
_LINK = re.compile(r'<a\b[^>]*\bhref="([^"]+)"', re.IGNORECASE)

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class File:
    """One file that an index offers."""

    name: str
    url: str
    sha256: str


class Index:
    """A Python package index, and the folder where what it gave is kept."""

    def __init__(self, http: aiohttp.ClientSession, cache: Path, report: Progress) -> None:
        self._http = http
        self._cache = cache
        self._report = report
        named = (os.environ.get(name) for name in _INDEX_VARIABLES)
        self._address = next((address for address in named if address), _INDEX).rstrip("/")

    async def sources(self, version: str) -> Path:
        """Return the source distribution of a version.  Raises errors.BackendFailure."""
        name = f"llama_cpp_python-{version}.tar.gz"
        if version == VERSION and (kept := await self._kept(name, CHECKSUM)) is not None:
            return kept
        files = await self.files(_PACKAGE)
        file = next((file for file in files if file.name == name), None)
        if file is None:
            versions = [file.name[17:-7] for file in files if file.name.endswith(".tar.gz")]
            raise BackendFailure(
                f"{self._shown} has no {_PACKAGE} {version}; the newest are"
                f" {', '.join(versions[-5:]) or 'none'}"
            )
        if version == VERSION and file.sha256 != CHECKSUM:
            raise BackendFailure(f"{self._shown} offers another {name} than the one known")
        return await self.fetch(file, f"llama.cpp ({_PACKAGE} {version})")

    async def tool(self, package: str, member: str, folder: Path) -> Path:
        """Unpack a package's program into `folder` and return where it is."""
        wheels = [file for file in await self.files(package) if _fits(file.name)]
        if not wheels:
            raise BackendFailure(f"{self._shown} has no {package} for this machine: install it")
        wheel = await self.fetch(wheels[-1], package)
        return await threads.run(_unpack_program, wheel, member, folder)

    async def files(self, package: str) -> list[File]:
        """The source distributions and wheels of a package that fit here, oldest first."""
        address = f"{self._address}/{package}/"
        async with self._get(address, {"Accept": f"{_TYPE}, text/html;q=0.1"}) as response:
            if response.status == 404:
                return []
            content = await response.content.read(_LARGEST_LISTING)
            while not response.content.at_eof() and len(content) < _LARGEST_LISTING:
                content += await response.content.read(_LARGEST_LISTING - len(content))
            listing, base = content.decode("utf-8", "replace"), str(response.url)
        return sorted(_offers(listing, base), key=lambda file: _age(file.name))

    async def fetch(self, file: File, what: str) -> Path:
        """Return a file, from the cache or from the index, with the right checksum."""
        if (kept := await self._kept(file.name, file.sha256)) is not None:
            return kept
        target = self._cache / file.name
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            await threads.run(self._cache.mkdir, parents=True, exist_ok=True)
            checksum = await self._download(file, partial, what)
            if checksum != file.sha256:
                raise BackendFailure(f"{file.url} is not what {self._shown} says: wrong checksum")
            await threads.run(os.replace, partial, target)
        except OSError as error:
            raise BackendFailure(f"cannot fetch {what}: {error.strerror or error}") from error
        finally:
            await threads.run_to_end(partial.unlink, missing_ok=True)
        return target

    async def _download(self, file: File, partial: Path, what: str) -> str:
        digest, size = hashlib.sha256(), 0
        async with self._get(file.url, {}) as response:
            if response.status != 200:
                raise BackendFailure(f"{file.url} answers {response.status}")
            of = response.content_length or 0
            with await threads.run_or_close(lambda: open(partial, "wb")) as opened:
                async for chunk in response.content.iter_chunked(_CHUNK):
                    size += len(chunk)
                    if size > _LARGEST:
                        raise BackendFailure(f"{file.url} is larger than it can be")
                    digest.update(chunk)
                    await threads.run(opened.write, chunk)
                    share = f" of {of / 1e6:.0f}" if of else ""
                    self._report(f"fetching {what}: {size / 1e6:.0f}{share} MB")
        return digest.hexdigest()

    @asynccontextmanager
    async def _get(
        self, address: str, headers: dict[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_TIMEOUT, sock_read=_TIMEOUT)
        try:
            async with self._http.get(address, headers=headers, timeout=timeout) as response:
                yield response
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise BackendFailure(
                f"cannot reach {urlsplit(address).hostname}: {error or type(error).__name__};"
                " --source names a folder or archive that is here already"
            ) from error

    async def _kept(self, name: str, checksum: str) -> Path | None:
        path = self._cache / name
        if await threads.run(_checksum, path) == checksum:
            return path
        return None

    @property
    def _shown(self) -> str:
        """The index without the password that its address may hold."""
        parts = urlsplit(self._address)
        return f"{parts.scheme}://{parts.hostname}{parts.path}"


def cache_folder() -> Path:
    """Return where fetched archives are kept."""
    systemd = os.environ.get("CACHE_DIRECTORY", "").split(":")[0]
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(systemd) if systemd else Path(home) / "runnerd"


def unpack_sources(archive: Path, folder: Path) -> Path:
    """Unpack llama.cpp out of a source distribution and return its folder.

    Raises errors.BackendFailure for an archive without it.
    """
    try:
        with tarfile.open(archive) as opened:
            if hasattr(tarfile, "data_filter"):  # not in Debian 12's Python
                opened.extraction_filter = tarfile.data_filter
            opened.extractall(folder, members=_members(opened))
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BackendFailure(f"cannot unpack {archive}: {error}") from error
    for found in (folder / "llama.cpp", folder):
        if (found / "CMakeLists.txt").is_file() and (found / "ggml").is_dir():
            return found
    raise BackendFailure(f"{archive} holds no llama.cpp")


def commit_of(archive: Path) -> str:
    """Return which commit of llama.cpp an archive holds, as far as it says."""
    try:
        with tarfile.open(archive) as opened:
            for member in itertools.islice(opened, _FIRST_MEMBERS):
                if member.name.endswith("/.git/modules/vendor/llama.cpp/HEAD"):
                    found = opened.extractfile(member)
                    head = b"" if found is None else found.read(64)
                    return head[:7].decode() if _COMMIT.match(head) else ""
    except (tarfile.TarError, EOFError, OSError):
        pass
    return ""


def _members(opened: tarfile.TarFile) -> Iterable[tarfile.TarInfo]:
    """Take llama.cpp's own files, under `llama.cpp/`, out of either kind of archive: one of its own
    (a `vendor` folder belongs to it), or llama-cpp-python's, which has it in its `vendor` folder.
    """
    members = opened.getmembers()
    below = {member.name: member.name.partition("/")[2] for member in members}
    nested = f"{_NESTED}CMakeLists.txt" in below.values()
    for member in members:
        inner = below[member.name]
        if nested:
            if not inner.startswith(_NESTED):
                continue
            inner = inner.removeprefix(_NESTED)
        if inner.startswith(_LEFT_OUT) or not inner or ".." in Path(inner).parts:
            continue
        if member.isfile() or member.isdir():
            member.name = f"llama.cpp/{inner}"  # TarInfo.replace came after Debian 12's Python
            yield member


def _offers(listing: str, base: str) -> Iterable[File]:
    """Read an index's page in either of its forms; what has no checksum is no offer."""
    if listing.lstrip().startswith("{"):
        yield from _json_offers(listing, base)
        return
    for link in _LINK.findall(listing):
        address, _, fragment = html.unescape(link).partition("#")
        algorithm, _, checksum = fragment.partition("=")
        if algorithm == "sha256":
            name = unquote(urlsplit(address).path.rpartition("/")[2])
            yield File(name, urljoin(base, address), checksum)


def _json_offers(listing: str, base: str) -> Iterable[File]:
    import json

    try:
        document = json.loads(listing)
        for entry in document["files"]:
            if not entry.get("yanked") and (checksum := entry["hashes"].get("sha256")):
                yield File(str(entry["filename"]), urljoin(base, entry["url"]), str(checksum))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackendFailure(f"{base} is no package index") from error


def _age(name: str) -> tuple[int, ...]:
    """Order versions; what is no release comes first."""
    match = re.search(r"-(\d+(?:\.\d+)*)(?=-|\.tar)", name)
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def _fits(name: str) -> bool:
    """Return whether a wheel of a program runs here; its tag names machine and C library."""
    if not name.endswith(".whl"):
        return False
    tag = name.removesuffix(".whl").rpartition("-")[2]
    library = "musllinux" if platform.libc_ver()[0] != "glibc" else "manylinux"
    machine = platform.machine()
    return any(part.startswith(library) and part.endswith(f"_{machine}") for part in tag.split("."))


def _unpack_program(wheel: Path, member: str, folder: Path) -> Path:
    """Unpack a wheel; `member` is the end of the program's path in it."""
    try:
        with zipfile.ZipFile(wheel) as opened:
            opened.extractall(folder)
            name = next(name for name in opened.namelist() if name.endswith(member))
    except (zipfile.BadZipFile, StopIteration, OSError) as error:
        raise BackendFailure(f"cannot unpack {wheel.name}: {error}") from error
    program = folder / name
    program.chmod(0o755)
    return program


def _checksum(path: Path) -> str | None:
    try:
        with open(path, "rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return None
