"""What people type to name a model, and its one canonical form.

The rules are Docker Model Runner's: `smollm2` means `ai/smollm2:latest`, `hf.co/` (with or without
`www.`) means `huggingface.co/`, Docker Hub is the registry that is not written.  The name is
lower-cased, the tag keeps its case.  The first path component is a registry when it looks like a
host (a dot, a port or `localhost`).  The grammar is strict and bounded, so that nothing accepted
can be mistaken for a path, a URL or a terminal escape.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from runnerd.errors import InvalidReference
from runnerd.models.digest import Digest
from runnerd.models.pages import model_of_page

DEFAULT_ORGANISATION = "ai"
DEFAULT_TAG = "latest"

_LONGEST = 512  # characters of a whole reference
_LONGEST_REPOSITORY = 255
_HUB = ("docker.io", "index.docker.io")
HUGGING_FACE = "huggingface.co"
HUGGING_FACE_NAMES = (HUGGING_FACE, "hf.co", "www.huggingface.co", "www.hf.co")
"""What people call that hub; all names of its models have the first."""
_ALIASES = dict.fromkeys(HUGGING_FACE_NAMES[1:], HUGGING_FACE)

_HOST = re.compile(
    r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*(?::[0-9]{1,5})?"
)
_COMPONENT = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_-])?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_HEX = re.compile(r"[0-9a-f]{64}")


def is_of_hugging_face(name: str) -> bool:
    """Whether a model's name, as people write it, begins with one of that hub."""
    return name.lower().partition("/")[0] in HUGGING_FACE_NAMES


@dataclass(frozen=True, slots=True)
class Reference:
    """A model's name: where it comes from, what it is called, which version.

    `registry` is empty for Docker Hub.  `tag` is empty only where `digest` is given.
    """

    registry: str
    repository: str
    tag: str
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Return the reference that `text` spells, with the defaults filled in.

        Raises errors.InvalidReference, whose message says which part is wrong.
        """
        text = text.strip(" ")
        if not text:
            raise InvalidReference(
                "a model reference is missing: write one such as ai/smollm2:latest"
            )
        if len(text) > _LONGEST:
            raise InvalidReference(f"a model reference has at most {_LONGEST} characters")
        if not text.isascii() or not text.isprintable():
            raise _invalid(text, "only ASCII letters, digits and . _ - / : @ are allowed")
        rest, digest = _split_digest(text)
        name, tag = _split_tag(rest, text)
        registry, repository = _split_registry(name.lower(), text)
        return cls(registry, repository, tag or ("" if digest else DEFAULT_TAG), digest)

    def __str__(self) -> str:
        name = f"{self.registry}/{self.repository}" if self.registry else self.repository
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return name + tag + digest

    @property
    def familiar(self) -> str:
        """The shortest form that still means this reference, for display."""
        text = str(self)
        if self.digest is None:
            text = text.removesuffix(f":{DEFAULT_TAG}")
        organisation, _, rest = self.repository.partition("/")
        if not self.registry and organisation == DEFAULT_ORGANISATION and "/" not in rest:
            text = text.removeprefix(f"{DEFAULT_ORGANISATION}/")
        return text

    @property
    def short_name(self) -> str:
        """The last path component, without the tag."""
        return self.repository.rpartition("/")[2]


def parse_tag(text: str) -> Reference:
    """Return the reference of a tag, which names no digest.  Raises errors.InvalidReference."""
    reference = Reference.parse(text)
    if reference.digest is not None:
        raise _invalid(text, "it names a digest; a tag is written NAME[:TAG]")
    return reference


def one_spelling(text: str) -> str:
    """The one spelling for all that a name can be written as, the shortest; what cannot be a name,
    as an id, stays.
    """
    try:
        return Reference.parse(model_of_page(text)).familiar
    except InvalidReference:
        return text


def _split_digest(text: str) -> tuple[str, Digest | None]:
    rest, separator, digest = text.partition("@")
    return rest, Digest.parse(digest) if separator else None


def _split_tag(rest: str, text: str) -> tuple[str, str]:
    # The last colon after the last slash: an earlier one belongs to a registry's port.
    colon = rest.rfind(":")
    if colon <= rest.rfind("/"):
        return rest, ""
    tag = rest[colon + 1 :]
    if not _TAG.fullmatch(tag) or ".." in tag:
        raise _invalid(
            text, "the tag takes 1 to 128 letters, digits and . _ - and starts with no . or -"
        )
    return rest[:colon], tag


def _split_registry(name: str, text: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    registry, repository = "", name
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, repository = _registry(first, text), rest
    if not registry:
        if "/" not in repository:
            repository = f"{DEFAULT_ORGANISATION}/{repository}"
        _check_hub_name(repository, text)
    _check_repository(repository, text)
    return registry, repository


def _registry(host: str, text: str) -> str:
    if len(host) > 253 or not _HOST.fullmatch(host):
        raise _invalid(text, f"{host!r} is not a registry's host name")
    host = _ALIASES.get(host, host)
    return "" if host in _HUB else host


def _check_hub_name(repository: str, text: str) -> None:
    """Refuse what would mean something else once it is written without a registry."""
    organisation, _, rest = repository.partition("/")
    if "." in organisation or organisation == "localhost":
        raise _invalid(text, f"{organisation!r} would be taken for a registry")
    if organisation == DEFAULT_ORGANISATION and (rest == "sha256" or _HEX.fullmatch(rest)):
        raise _invalid(text, "that is the form of a model id, which cannot be a name")


def _check_repository(repository: str, text: str) -> None:
    if len(repository) > _LONGEST_REPOSITORY:
        raise _invalid(text, f"a name has at most {_LONGEST_REPOSITORY} characters")
    components = repository.split("/")
    if not all(_COMPONENT.fullmatch(component) for component in components) or ".." in repository:
        raise _invalid(
            text,
            "each part of a name takes letters, digits and . _ - and begins with none of . -",
        )


def _invalid(text: str, reason: str) -> InvalidReference:
    return InvalidReference(f"{text[:120]!r} is not a model reference: {reason}", param="model")
