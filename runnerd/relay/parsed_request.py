"""The body of one inference request, decoded once, for everybody who looks into it.

The few fields that decide what becomes of a request are decoded at once.  Whoever needs more, its
members as the client's own bytes (parameter rules, choice of tools) or the whole document (images
by address, infill), has it decoded when it asks first; it is kept for the next one.
"""

from __future__ import annotations

from typing import Any

import msgspec

from runnerd.relay.body import Body, Inference, json_object, members_of, read_fields
from runnerd.relay.body_scan import count_prompts


class ParsedRequest(msgspec.Struct, gc=False):
    """A body that is a JSON object, in the engine's terms; nothing of it changes.

    `reference` is what the client calls the model, `is_plain` as in its fields.  A struct: one is
    made per request.
    """

    body: Body
    fields: Inference
    reference: str
    is_plain: bool = False
    _members: dict[str, msgspec.Raw] | None = None
    _document: dict[str, Any] | None = None
    _prompts: int = 0

    @property
    def members(self) -> dict[str, msgspec.Raw]:
        """The members by name, their values as the client's own bytes.  Not to be changed."""
        if self._members is None:
            self._members = members_of(self.body)
        return self._members

    @property
    def document(self) -> dict[str, Any]:
        """The whole body.  Not to be changed."""
        if self._document is None:
            self._document = json_object(self.body)
        return self._document

    @property
    def prompts(self) -> int:
        """How many prompts there are; none said is one."""
        if not self._prompts:
            self._prompts = count_prompts(self.fields.prompt)
        return self._prompts

    def replaced(self, members: dict[str, msgspec.Raw], **fields: msgspec.Raw) -> ParsedRequest:
        """The request with other members; `fields` are those among them that are fields."""
        changed = msgspec.structs.replace(self.fields, **fields)
        return ParsedRequest(
            msgspec.json.encode(members), changed, self.reference, _members=members
        )


def parse(body: Body) -> ParsedRequest:
    """Decode a body.  Raises msgspec's errors and errors.ClientError."""
    fields = read_fields(body)
    return ParsedRequest(body, fields, str(fields.model_name), fields.is_plain)
