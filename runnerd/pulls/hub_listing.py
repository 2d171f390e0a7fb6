"""What a repository of the hub is called, and its list of files, of which nothing is believed.

The listing names the commit, and of every file its size and, where it is a large one, its sha256
(https://huggingface.co/docs/hub/api).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from runnerd.errors import InvalidReference, SourceFailure
from runnerd.models.digest import Digest
from runnerd.models.reference import Reference
from runnerd.pulls.file_kinds import RepositoryFile
from runnerd.pulls.hub_card import published
from runnerd.pulls.published import Published

_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,127}")
_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]{1,96}/[A-Za-z0-9_.-]{1,96}")


@dataclass(frozen=True, slots=True)
class HubName:
    """A repository as it was typed; the hub's names have upper case, references do not."""

    repository: str
    revision: str
    label: str | None
    reference: Reference

    @classmethod
    def parse(cls, text: str, revision: str | None = None) -> HubName:
        """What `hf.co/org/repo[@revision][:quant]` means.

        Raises errors.InvalidReference.
        """
        name, _, rest = text.strip().partition("@")
        label: str | None = None
        if rest:
            revision, _, label = rest.partition(":")
            name = f"{name}:{label}" if label else name
        reference = Reference.parse(name)
        revision = revision or "main"
        if not _REVISION.fullmatch(revision) or ".." in revision:
            raise InvalidReference(f"{revision[:120]!r} is not a revision")
        path = name.partition("/")[2]
        repository, _, label = path.partition(":")
        if not _REPOSITORY.fullmatch(repository) or ".." in repository:
            raise InvalidReference(
                f"{text[:120]!r} is not a repository: write hf.co/organisation/repository"
            )
        label = None if label in ("", "latest") else label
        return cls(repository, revision, label, reference)


class _LargeFile(msgspec.Struct):
    sha256: str


class _Sibling(msgspec.Struct):
    rfilename: str
    size: int | None = None
    lfs: _LargeFile | None = None


class _Listing(msgspec.Struct):
    sha: str | None = None
    siblings: list[_Sibling] = []


class Listed(NamedTuple):
    """A repository at one commit: its files, and what is said of it."""

    commit: str
    files: list[RepositoryFile]
    said: Published


def decoded(raw: bytes, name: HubName) -> Listed:
    """What the hub has sent as a listing.  Raises errors.SourceFailure where it is none."""
    try:
        listing = msgspec.json.decode(raw, type=_Listing)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SourceFailure("the hub's list of files cannot be read") from error
    files = [_repository_file(file) for file in listing.siblings]
    return Listed(_commit(listing.sha, name), files, published(raw, name.repository))


def _repository_file(file: _Sibling) -> RepositoryFile:
    path = file.rfilename
    if len(path) > 1024 or path.startswith("/") or ".." in path.split("/"):
        raise SourceFailure("the hub lists a file with an impossible name")
    try:
        digest = None if file.lfs is None else Digest(file.lfs.sha256)
    except InvalidReference as error:
        raise SourceFailure("the hub lists a file with an impossible sha256") from error
    return RepositoryFile(path, max(0, file.size or 0), digest)


def _commit(sha: str | None, name: HubName) -> str:
    return sha if sha and re.fullmatch(r"[0-9a-f]{40,64}", sha) else name.revision
