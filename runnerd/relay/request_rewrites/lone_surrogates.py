"""Halves of characters, which JSON can write and no text can have, replaced.

JavaScript cuts strings between the two halves of an emoji, and escapes the half that is left
(`\\ud83d`).  Decoders refuse that: one such message would end its conversation for good.  It is
looked for only where decoding has failed, so a body without one pays nothing.
"""

from __future__ import annotations

import re

from runnerd.relay.body import Body

_ESCAPE = re.compile(
    rb"\\(?:u(?:(?P<pair>[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?P<lone>[dD][89a-fA-F][0-9a-fA-F]{2}))|.)",
    re.DOTALL,
)
_REPLACEMENT = rb"\ufffd"  # as many bytes as what it stands for


def without_lone_surrogates(body: Body) -> bytes | None:
    """The body, as long as it was, with U+FFFD for halves of characters; None: it has none."""
    changed = _ESCAPE.sub(_replaced, body)
    return None if changed == body else changed


def _replaced(found: re.Match[bytes]) -> bytes:
    return _REPLACEMENT if found["lone"] else found[0]
