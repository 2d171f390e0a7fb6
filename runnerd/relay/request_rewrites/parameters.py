"""What an owner and a maker have said for every completion of a model, put into its requests.

A *default* is added where the request does not say it, a *forced* parameter replaces what the
request says, a *stripped* one is taken out.  A maker (in a Modelfile, `models/modelfile`) has
defaults only, which are below the owner's, and prompt prefixes (`prompt_prefix`).

The body is taken apart into its members, whose values stay the client's own bytes, and put together
again without some and with others: numbers keep their digits and strings their escapes.  The names
are read as what they mean, so an escaped one is no way around this, and of two equal names the last
one counts, as it does for the engine.

Only models of which something was said are treated so; for others nothing is done at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from runnerd.configurations import ModelConfiguration
from runnerd.models.modelfile import Modelfile
from runnerd.relay.body import Body, unclosed
from runnerd.relay.engine import Buffer
from runnerd.relay.request_rewrites.prompt_prefix import Opening, PromptPrefix, prompt_prefix_for
from runnerd.relay.request_rewrites.stop_words import said_stops

_NULL = b"null"
_LIMIT = "max_tokens"
_CACHE = "cache_prompt"  # whether an engine goes on from what it has evaluated before
_WHOLE_CONTEXT = 2**16  # tokens to look back at
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
    "audio/transcriptions": {},
    "responses": {"max_tokens": "max_output_tokens"},
    "messages": {"stop": "stop_sequences"},
}

_MAKERS_NAMES = {  # what Modelfiles and Ollama's requests say: the engine's parameter
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "seed": "seed",
    "num_predict": "max_tokens",
    "num_keep": "n_keep",
    "repeat_last_n": "repeat_last_n",
    "repeat_penalty": "repeat_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "stop": "stop",
}
SAMPLING_OPTIONS = frozenset(_MAKERS_NAMES)
"""Ollama's options that are said to the engine with each request."""

_encode = msgspec.json.encode


class ParameterRules:
    """What is done to the requests of one operation on one model.

    `names` are what the operation calls parameters, `made` is what the maker says of them.
    """

    def __init__(
        self,
        configuration: ModelConfiguration,
        names: dict[str, str],
        made: Mapping[str, object],
        prompt_prefix: PromptPrefix | None = None,
    ) -> None:
        forced, defaults = configuration.forced_parameters, configuration.completion_defaults
        self._forced = dict(_members(forced.said() if forced else {}, names))
        self._prompt_prefix = prompt_prefix
        self._dropped = frozenset(
            same
            for name in (*_stripped(configuration), *self._forced)
            for same in _SAME.get(name, (name,))
        )
        below = {name: each for name, each in _members(made, names) if name not in self._dropped}
        above = dict(_members(defaults.said() if defaults else {}, names))
        self._defaults = {
            name: member for name, member in (below | above).items() if name not in self._forced
        }
        self._said_limit = _limit(self._defaults | self._forced, names)

    def limit(self, asked: int | None) -> int | None:
        """Return how many tokens a response may have to a request that says `asked`."""
        return self._said_limit if asked is None or _LIMIT in self._dropped else asked

    def applied(
        self,
        said: Mapping[str, msgspec.Raw],
        below: Mapping[str, object] | None = None,
        *,
        has_prefix: bool = False,
    ) -> tuple[Buffer, ...]:
        """The pieces of a changed body, but for its closing brace; `said` are a request's members.

        `below` are defaults for what neither the request nor owner and maker say; `has_prefix` says
        that the conversation begins already as the maker wants it.
        """
        members = dict(said)
        for name in self._dropped:
            members.pop(name, None)
        added = dict(self._forced)
        opening = Opening()
        if self._prompt_prefix is not None and not has_prefix:
            opening = self._prompt_prefix.opening(members)
        others = {name: each for name, each in (below or {}).items() if name not in self._dropped}
        defaults = dict(_members({**others, **opening.system}, {})) | self._defaults
        for name, member in defaults.items():
            same = _SAME.get(name, (name,))
            if all(memoryview(members.get(each, _NULL)) == _NULL for each in same):
                for each in same:
                    members.pop(each, None)  # the engine takes null for its own default
                added[name] = member
        return tuple(_pieces(members, added.values(), opening.turns))


def completed(body: Body, below: Mapping[str, object]) -> bytes:
    """Return a body of some members with others, which it does not say, behind them."""
    members = b",".join(member for _, member in _members(below, {}))
    return b"%s,%s}" % (unclosed(body), members)


def sampling(options: Mapping[str, object]) -> dict[str, object]:
    """Return those of Ollama's options that are said with a request, as the engine's parameters."""
    found = {_MAKERS_NAMES[name]: said for name, said in options.items() if name in _MAKERS_NAMES}
    if "stop" in found and (stops := said_stops(found.pop("stop"))) is not None:
        found["stop"] = stops
    if found.get("repeat_last_n") == -1:  # the whole context, to Ollama; the engine refuses it
        found["repeat_last_n"] = _WHOLE_CONTEXT
    return found


def rules_for(
    configuration: ModelConfiguration, made: Modelfile, operation: str
) -> ParameterRules | None:
    """What is done to requests for an operation; None: nothing."""
    names, prompt_prefix = _NAMES.get(operation), prompt_prefix_for(made, operation)
    if names is None:
        return (
            ParameterRules(ModelConfiguration(), {}, {}, prompt_prefix) if prompt_prefix else None
        )
    said = (
        configuration.completion_defaults,
        configuration.forced_parameters,
        _stripped(configuration),
        parameters := sampling(made.parameters),
        prompt_prefix,
    )
    return ParameterRules(configuration, names, parameters, prompt_prefix) if any(said) else None


def _stripped(configuration: ModelConfiguration) -> tuple[str, ...]:
    """What is taken out of requests: by the owner's word, or because users are isolated."""
    own = configuration.stripped_parameters
    return (*own, _CACHE) if configuration.isolate_users else own


def _limit(members: Mapping[str, bytes], names: Mapping[str, str]) -> int | None:
    """Return how many tokens a response may have by what is put in."""
    name = names.get(_LIMIT, _LIMIT)
    said = msgspec.json.decode(b"{%s}" % members.get(name, b"")).get(name)
    return said if isinstance(said, int) else None


def _members(said: Mapping[str, object], names: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    """Yield each parameter's name for the operation, and the member to add."""
    for name, value in said.items():
        called = names.get(name, name)
        yield called, _encode(called) + b":" + _encode(value)


def _pieces(
    members: dict[str, msgspec.Raw], added: Iterable[bytes], turns: Mapping[str, bytes]
) -> Iterator[Buffer]:
    """Yield an object's text without its end, with `turns` at the front of the lists that they
    name; only large values are pieces of their own.
    """
    text = bytearray(b"{")
    for name, value in members.items():
        text += b"%s%s:" % (b"" if text == b"{" else b",", _encode(name))
        raw = memoryview(value)
        if name in turns:
            text += b"[" + turns[name]
            raw = raw[1:]
        if len(raw) > _LARGE:
            yield bytes(text)
            yield raw
            text = bytearray()
        else:
            text += raw
    for member in added:
        text += member if text == b"{" else b"," + member
    yield bytes(text)
