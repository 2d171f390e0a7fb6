"""The one credential of a request, as its head says it.

| header | credential |
|---|---|
| `Authorization: Bearer KEY` | KEY |
| `Authorization: Basic ...` | the password, whatever the name of the user is |
| `x-api-key: KEY` | KEY |

Nothing else counts: no query, no cookie, no other scheme.  The same key may be said twice; two that
disagree are refused, because whatever stands in front of this daemon may have looked at the other.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable

from runnerd.errors import Unauthorized

_FORM = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 bytes in base64url
_LONGEST = 1024


def credential_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The key that a head shows, None where it shows none; header names are lower case.

    Raises errors.Unauthorized for keys that disagree and for one that cannot be read.
    """
    found: str | None = None
    for name, value in headers:
        if name == b"authorization":
            said = _of_authorization(value)
        elif name == b"x-api-key":
            said = _text(value.strip())
        else:
            continue
        if not said:
            continue
        if found is not None and said != found:
            raise Unauthorized("the request shows two keys that disagree; send one")
        found = said
    return found


def has_form_of_key(secret: str) -> bool:
    """Whether a text could be a key of this daemon."""
    return _FORM.fullmatch(secret) is not None


def _of_authorization(value: bytes) -> str | None:
    scheme, _, rest = value.strip().partition(b" ")
    kind = scheme.lower()
    if kind == b"bearer":
        return _text(rest.strip())
    if kind != b"basic":
        return None
    try:
        pair = base64.b64decode(rest.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unauthorized("the password of the Authorization header cannot be read") from error
    return _text(pair.partition(b":")[2])


def _text(value: bytes) -> str:
    """A key as text; one that is none of ours can have any bytes."""
    if len(value) > _LONGEST:
        raise Unauthorized("the key is not valid")
    return value.decode("latin-1")
