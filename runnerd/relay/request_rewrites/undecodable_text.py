"""What decoders refuse in a text that is JSON otherwise, replaced: halves of characters, and a mark
in front.

JavaScript cuts strings between the two halves of an emoji, and escapes the half that is left
(`\\ud83d`).  Decoders refuse that: one such message would end its conversation for good.  It is
looked for only where decoding has failed, so a body without one pays nothing.  The same goes for
the byte-order mark that Windows programs put in front of what they send.
"""

from __future__ import annotations

import re

from runnerd.relay.body import Body

_ESCAPE = re.compile(
    rb"\\(?:u(?:(?P<pair>[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?P<lone>[dD][89a-fA-F][0-9a-fA-F]{2}))|.)",
    re.DOTALL,
)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_REPLACEMENT = rb"\ufffd"  # as many bytes as what it stands for


def decodable(body: Body) -> bytes | None:
    """The body without a byte-order mark and with U+FFFD for halves of characters; None: it has
    neither.
    """
    changed = _ESCAPE.sub(_replaced, body.removeprefix(_BYTE_ORDER_MARK))
    return None if changed == body else bytes(changed)


def _replaced(found: re.Match[bytes]) -> bytes:
    return _REPLACEMENT if found["lone"] else found[0]
