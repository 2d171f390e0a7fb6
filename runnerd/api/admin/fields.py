"""What is said of users in requests, and how users and keys are told."""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any

from runnerd.access import Key, Permission, User, UserLimits
from runnerd.api.context import timestamp
from runnerd.errors import ClientError
from runnerd.units import parse_span

_MOST_COUNT = 2**53
_MOST_PATTERNS = 100
_PATTERN = re.compile(r"[!-~]{1,200}")
_LIMITS = tuple(field.name for field in fields(UserLimits))
_PRIORITIES = 100
_LABEL_LETTERS = 100


def user_fields(document: dict[str, Any]) -> dict[str, Any]:
    """The fields of a user that a document sets.  Raises errors.ClientError."""
    _known(document, _SETTERS, "a user")
    return {
        name: value
        for member, setter in _SETTERS.items()
        if member in document
        for name, value in setter(document[member]).items()
    }


def permissions(said: object) -> frozenset[Permission]:
    """Permissions by their names, also with Pantry's `perm_` in front."""
    found = set()
    for text in _strings(said, "may"):
        name = text.strip().lower().replace("-", "_").removeprefix("perm_")
        if name not in _PERMISSIONS:
            raise ClientError(_unknown("permission", text, _PERMISSIONS), param="may")
        found.add(Permission(name))
    return frozenset(found)


def patterns(said: object) -> tuple[str, ...]:
    """Patterns of models."""
    found = _strings(said, "models")
    if len(found) > _MOST_PATTERNS:
        raise ClientError(f"at most {_MOST_PATTERNS} patterns of models", param="models")
    for text in found:
        if not _PATTERN.fullmatch(text):
            raise ClientError(
                f"{text[:100]!r} is no pattern of models; write one such as ai/*", param="models"
            )
    return tuple(dict.fromkeys(found))


def limits(said: object) -> dict[str, Any]:
    """The limits that change, by their names; one that is null is taken away."""
    if not isinstance(said, dict):
        raise ClientError("limits must be an object, such as {...: 60}", param="limits")
    changes: dict[str, Any] = {}
    for name, value in said.items():
        if name not in _LIMITS:
            raise ClientError(_unknown("limit", str(name), _LIMITS), param="limits")
        changes[name] = _limit(name, value)
    return changes


def _limit(name: str, value: object) -> int | None:
    if name == "priority":
        if value is None:
            return 0
        if type(value) is not int or abs(value) > _PRIORITIES:
            raise ClientError(
                f"priority is a number from -{_PRIORITIES} to {_PRIORITIES}", param="limits"
            )
        return value
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= _MOST_COUNT:
        raise ClientError(f"{name} is a number, 0 or more, or null for none", param="limits")
    return value


def moment(said: object) -> float | None:
    """When something ends: null, a span from now ("30d", "12h"), or Unix time in seconds."""
    if said is None or said == "" or said == "never":
        return None
    if isinstance(said, str):
        try:
            return time.time() + parse_span(said)
        except ValueError as error:
            raise ClientError(str(error), param="expires") from error
    if isinstance(said, int | float) and not isinstance(said, bool) and 0 <= said < 2**40:
        return float(said)
    raise ClientError("expires is a span such as 30d, Unix time, or null", param="expires")


def label(said: object) -> str:
    """What a key is for."""
    if said is None:
        return ""
    if not isinstance(said, str) or len(said) > _LABEL_LETTERS or not said.isprintable():
        raise ClientError(f"label is text of at most {_LABEL_LETTERS} letters", param="label")
    return said


def _name(said: object) -> dict[str, Any]:
    if not isinstance(said, str):
        raise ClientError("name must be a string", param="name")
    return {"name": said}


def _disabled(said: object) -> dict[str, Any]:
    if not isinstance(said, bool):
        raise ClientError("disabled must be true or false", param="disabled")
    return {"disabled": said}


_PERMISSIONS = tuple(Permission)
_SETTERS = {
    "name": _name,
    "may": lambda said: {"permissions": permissions(said)},
    "models": lambda said: {"models": patterns(said)},
    "limits": lambda said: {"limits": limits(said)},
    "expires": lambda said: {"expires": moment(said)},
    "disabled": _disabled,
}


def only(document: dict[str, Any], members: Iterable[str], of: str) -> None:
    """Raise errors.ClientError for a member that is not among these."""
    _known(document, members, of)


def _known(document: dict[str, Any], members: Iterable[str], of: str) -> None:
    known = tuple(members)
    for name in document:
        if name not in known:
            raise ClientError(_unknown(f"field of {of}", str(name), known), param=str(name)[:100])


def _unknown(what: str, text: str, known: Iterable[str]) -> str:
    names = [str(name) for name in known]
    near = difflib.get_close_matches(text, names, n=1)
    meant = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(names)}"
    return f"there is no {what} {text[:100]!r}{meant}"


def _strings(said: object, param: str) -> list[str]:
    """A list of strings, also written as one string with commas."""
    if said is None:
        return []
    if isinstance(said, str):
        said = [part.strip() for part in said.split(",") if part.strip()]
    if not isinstance(said, list) or not all(isinstance(item, str) for item in said):
        raise ClientError(f"{param} must be a list of names", param=param)
    return said


def user_json(user: User, keys: Iterable[Key], now: float) -> dict[str, object]:
    """A user as the API shows it."""
    return {
        "id": user.id,
        "name": user.name,
        "may": sorted(user.permissions),
        "models": list(user.models),
        "limits": asdict(user.limits),
        "expires": _time(user.expires),
        "disabled": user.disabled,
        "active": not user.ended(now),
        "created": timestamp(user.created),
        "keys": [key_json(key, user, now) for key in keys],
    }


def key_json(key: Key, user: User, now: float) -> dict[str, object]:
    """A key as the API shows it: never the key itself, nor what is kept of it."""
    return {
        "id": key.id,
        "user": user.name,
        "label": key.label,
        "created": timestamp(key.created),
        "expires": _time(key.expires),
        "active": not key.ended(now) and not user.ended(now),
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else timestamp(seconds)


def told_changes(said: dict[str, Any]) -> str:
    """Fields of a user as the audit tells them."""
    names = {"permissions": "may"}
    return " ".join(f"{names.get(name, name)}={_told(value)}" for name, value in said.items())


def _told(value: object) -> str:
    if isinstance(value, dict):
        told = ("none" if each is None else each for each in value.values())
        return ",".join(f"{name}:{each}" for name, each in zip(value, told, strict=True)) or "none"
    if isinstance(value, frozenset | tuple):
        return ",".join(sorted(value)) or "none"
    return timestamp(value) if isinstance(value, float) else str(value)
