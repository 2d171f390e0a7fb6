"""JSON of strangers, read as ProtoLLM reads it: with Python's parser, and into whole characters.

That parser also accepts half a character (`"\\ud800"`), which neither Redis, nor the database,
nor a response can hold.
"""

from __future__ import annotations

import json
from typing import Any


def read_document(data: bytes) -> Any:
    """Read JSON.  Raises ValueError, RecursionError."""
    text = data.decode()  # given bytes, the parser would take halves there, too
    document = json.loads(text)
    if "\\u" in text:  # half a character can only be there as an escape
        try:
            json.dumps(document, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError("half a character (a surrogate without the other one)") from error
    return document
