"""One body, decoded once."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from runnerd.errors import ClientError
from runnerd.relay import body as bodies
from runnerd.relay import parsed_request
from runnerd.relay.parsed_request import parse

COVERS = ("runnerd.relay.body",)

BODY = b'{"model": "m", "stream": true, "tools": [{"a": 1}], "x": [1.50]}'


def test_nothing_is_decoded_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members and document are decoded when they are asked for first, and kept."""
    counts = {"fields": 0, "members": 0, "document": 0}

    def counted(name: str, decode: Any) -> Any:
        def decoded(body: bodies.Body) -> Any:
            counts[name] += 1
            return decode(body)

        return decoded

    monkeypatch.setattr(parsed_request, "read_fields", counted("fields", bodies.read_fields))
    monkeypatch.setattr(parsed_request, "members_of", counted("members", bodies.members_of))
    monkeypatch.setattr(parsed_request, "json_object", counted("document", bodies.json_object))
    request = parse(BODY)
    assert counts == {"fields": 1, "members": 0, "document": 0}
    for _ in range(2):
        assert request.reference == "m"
        assert bytes(request.members["x"]) == b"[1.50]"
        assert request.document["x"] == [1.5]
    assert counts == {"fields": 1, "members": 1, "document": 1}


def test_other_members() -> None:
    """A changed request has its fields and members without decoding, and the first one stays."""
    request = parse(BODY)
    none = msgspec.Raw(b"[]")
    changed = request.replaced({**request.members, "tools": none}, tools=none)
    assert json.loads(changed.body) == {**json.loads(BODY), "tools": []}
    assert (changed.reference, bytes(changed.fields.tools)) == ("m", b"[]")
    assert bytes(changed.members["tools"]) == b"[]"
    assert bytes(request.fields.tools) == b'[{"a": 1}]'
    assert request.document["tools"] == [{"a": 1}]


def test_two_models_are_refused() -> None:
    """Two readers could disagree on which of them counts."""
    with pytest.raises(ClientError, match="twice"):
        parse(b'{"model":"a","model":"b"}')
