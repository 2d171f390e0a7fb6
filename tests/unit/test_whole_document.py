"""response_adapters.whole_document: a response that comes in pieces is read once it is whole."""

from __future__ import annotations

import json

import pytest

from runnerd.relay.events import StreamError
from runnerd.relay.response_adapters.whole_document import WholeDocument


@pytest.mark.parametrize("size", [1, 3, 100])
def test_pieces_are_put_together(size: int) -> None:
    """Nothing is passed on before, however it is cut."""
    text = json.dumps({"a": [1, "é"]}).encode()
    whole = WholeDocument()
    assert [whole.feed(text[at : at + size]) for at in range(0, len(text), size)].count(b"") > 0
    assert whole.document() == {"a": [1, "é"]}


def test_half_a_document_is_none() -> None:
    """The engine has failed, and that is told."""
    whole = WholeDocument()
    whole.feed(b'{"a":')
    with pytest.raises(StreamError, match="not JSON"):
        whole.document()
