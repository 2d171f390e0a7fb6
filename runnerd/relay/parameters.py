"""What an owner has said for every completion of a model, put into its requests.

A *default* is added where the request does not say it, a *forced* parameter replaces what the
request says, a *stripped* one is taken out.  The body is taken apart into its members, whose values
stay the client's own bytes, and put together again without some and with others: numbers keep
their digits and strings their escapes.  The names are read as what they mean, so an escaped one is
no way around this, and of two equal names the last one counts, as it does for the engine.

Only models that have such a configuration are treated so; for others nothing is done at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from runnerd.configurations import ModelConfiguration
from runnerd.errors import ClientError
from runnerd.relay.body import Body
from runnerd.relay.engine import Buffer

_NULL = b"null"
_LARGE = 1 * 2**20  # bytes of a value that is not copied

# Names that mean the same.  The first one is what an owner says.
_ALIASES = (
    ("max_tokens", "max_completion_tokens", "max_output_tokens", "n_predict"),
    ("stop", "stop_sequences"),
    ("typical_p", "typ_p"),
)
_SAME = {name: names for names in _ALIASES for name in names}

# How an operation calls a parameter that is called otherwise elsewhere.
_NAMES = {
    "chat/completions": {},
    "completions": {},
    "infill": {},
    "responses": {"max_tokens": "max_output_tokens"},
    "messages": {"stop": "stop_sequences"},
}

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.encode


class ParameterRules:
    """What is done to the requests of one operation on one model."""

    def __init__(self, configuration: ModelConfiguration, names: dict[str, str]) -> None:
        forced, defaults = configuration.forced_parameters, configuration.completion_defaults
        self._forced = dict(_members(forced.said() if forced else {}, names))
        self._defaults = {
            name: member
            for name, member in _members(defaults.said() if defaults else {}, names)
            if name not in self._forced
        }
        self._dropped = frozenset(
            same
            for name in (*configuration.stripped_parameters, *self._forced)
            for same in _SAME.get(name, (name,))
        )

    def applied(self, body: Body, below: Mapping[str, object] | None = None) -> tuple[Buffer, ...]:
        """Return the pieces of a changed body, but for its closing brace.

        `below` are defaults for what neither the request nor the owner says.  Raises
        errors.ClientError.
        """
        try:
            members = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ClientError(f"the request body is not valid JSON: {error}") from error
        for name in self._dropped:
            members.pop(name, None)
        added = dict(self._forced)
        others = {name: said for name, said in (below or {}).items() if name not in self._dropped}
        for name, member in (dict(_members(others, {})) | self._defaults).items():
            same = _SAME.get(name, (name,))
            if all(memoryview(members.get(each, _NULL)) == _NULL for each in same):
                for each in same:
                    members.pop(each, None)  # the engine takes null for its own default
                added[name] = member
        return tuple(_pieces(members, added.values()))


def completed(body: Body, below: Mapping[str, object]) -> bytes:
    """Return a body of some members with others, which it does not say, behind them."""
    members = b",".join(member for _, member in _members(below, {}))
    return b"%s,%s}" % (memoryview(body)[:-1], members)


def rules_for(configuration: ModelConfiguration, operation: str) -> ParameterRules | None:
    """Return what is done to requests for an operation; None: nothing."""
    names = _NAMES.get(operation)
    said = (
        configuration.completion_defaults,
        configuration.forced_parameters,
        configuration.stripped_parameters,
    )
    return ParameterRules(configuration, names) if names is not None and any(said) else None


def _members(said: Mapping[str, object], names: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    """Yield each parameter's name for the operation, and the member to add."""
    for name, value in said.items():
        called = names.get(name, name)
        yield called, _encode(called) + b":" + _encode(value)


def _pieces(members: dict[str, msgspec.Raw], added: Iterable[bytes]) -> Iterator[Buffer]:
    """Yield an object's text without its end; only large values are pieces of their own."""
    text = bytearray(b"{")
    for name, value in members.items():
        text += b"%s%s:" % (b"" if text == b"{" else b",", _encode(name))
        if len(raw := memoryview(value)) > _LARGE:
            yield bytes(text)
            yield raw
            text = bytearray()
        else:
            text += raw
    for member in added:
        text += member if text == b"{" else b"," + member
    yield bytes(text)
