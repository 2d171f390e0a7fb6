"""What a source says of a model beside its files: who made it, under which license, its page.

It is for people and decides nothing, so all of it may be missing and none of it is believed: texts
are cut to one line of a bounded length, and a source that cannot be asked says nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable
from typing import Any

import msgspec

from runnerd.errors import RunnerdError

log = logging.getLogger(__name__)

_PATIENCE = 10.0  # seconds for a question that the pull itself does not need answered
_LONGEST = 200
_LONGEST_DESCRIPTION = 2000
_LONGEST_ADDRESS = 500
_LONGEST_TAG = 60
_MOST_TAGS = 50


class Published(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was said of one model; "" where nothing was."""

    name: str = ""
    family: str = ""
    organization: str = ""
    license: str = ""
    description: str = ""
    homepage: str = ""
    tags: tuple[str, ...] = ()


NOTHING = Published()


async def asked(question: Awaitable[Published | None]) -> Published | None:
    """What a source says when it is asked for that alone, None where it does not answer in time
    or answers otherwise.
    """
    try:
        async with asyncio.timeout(_PATIENCE):
            return await question
    except (RunnerdError, TimeoutError) as error:
        log.info(
            "a model's description at its source could not be read: %s",
            error or "no answer in time",
        )
        return None


def line(value: object, most: int = _LONGEST) -> str:
    """A value as one printable line; "" for what is no text."""
    if not isinstance(value, str):
        return ""
    words = " ".join(value[: 4 * most].split())
    return "".join(each for each in words if each.isprintable())[:most]


def lines(values: object) -> str:
    """One line, or several as one."""
    if isinstance(values, list):
        return line(", ".join(filter(None, (line(each) for each in values[:_MOST_TAGS]))))
    return line(values)


def description(value: object) -> str:
    """A text of some sentences."""
    return line(value, _LONGEST_DESCRIPTION)


def address(*values: object) -> str:
    """The first of these that is the address of a page."""
    for value in values:
        if isinstance(value, str) and value.lower().startswith(("https://", "http://")):
            plain = value.isascii() and value.isprintable() and not set(value) & set(" <>\"'@")
            if plain and len(value) <= _LONGEST_ADDRESS:
                return value
    return ""


def tags(values: object) -> tuple[str, ...]:
    """Words that a model can be found by; those with a colon are for programs."""
    words = (line(each, _LONGEST_TAG) for each in values) if isinstance(values, list) else ()
    found = dict.fromkeys(word for word in words if word and ":" not in word)
    return tuple(found)[:_MOST_TAGS]


def first(values: Iterable[str]) -> str:
    """The first text that says something."""
    return next(filter(None, values), "")


# OCI's annotations, and what ModelPack's config says beside them

_OCI = "org.opencontainers.image."


class _Annotated(msgspec.Struct):
    annotations: Any = None


class _Packed(msgspec.Struct):
    descriptor: Any = None


def of_manifest(raw: bytes) -> Published | None:
    """What the annotations of a manifest say
    (https://github.com/opencontainers/image-spec/blob/main/annotations.md).
    """
    said = _members(raw, _Annotated, "annotations")

    def about(name: str) -> object:
        return said.get(_OCI + name)

    return _or_none(
        Published(
            name=line(about("title")),
            organization=line(about("vendor")) or line(about("authors")),
            license=line(about("licenses")),
            description=description(about("description")),
            homepage=address(about("url"), about("documentation"), about("source")),
        )
    )


def of_packed(raw: bytes) -> Published | None:
    """What the descriptor in a ModelPack's config says
    (https://github.com/modelpack/model-spec/blob/main/docs/config.md).
    """
    said = _members(raw, _Packed, "descriptor")
    return _or_none(
        Published(
            name=line(said.get("title")) or line(said.get("name")),
            family=line(said.get("family")),
            organization=line(said.get("vendor")) or lines(said.get("authors")),
            license=lines(said.get("licenses")),
            description=description(said.get("description")),
            homepage=address(said.get("docURL"), said.get("sourceURL")),
        )
    )


def completed(said: Published | None, more: Published | None) -> Published | None:
    """What was said, and of what was not what another place says."""
    if said is None or more is None:
        return said or more
    lacking = {name: getattr(more, name) for name in said.__struct_fields__}
    return msgspec.structs.replace(
        said, **{name: value for name, value in lacking.items() if not getattr(said, name)}
    )


def _members(raw: bytes, kind: type[Any], name: str) -> dict[str, Any]:
    try:
        found = getattr(msgspec.json.decode(raw, type=kind), name)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _or_none(said: Published) -> Published | None:
    return None if said == NOTHING else said
