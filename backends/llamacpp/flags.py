"""The runtime flags that an owner may set for a model: typed ones from a table, and nothing else.

A raw command line would be a way in: `--log-file` overwrites files, `--rpc` opens ports, `--tools`
runs shells.  So a flag is looked up in a table (`flag_table`), its value parsed as the type that
the table says (`flag_types`), and what goes to the engine is written anew from the parsed value.
No type can hold a path, a URL or an option.

Accepted are `--flag value` and `--flag=value`, under every name that llama.cpp has or had for the
flag.  llama.cpp renames flags now and then: `spelled` puts them into the words of the engine that
is there, and refuses what that one does not have.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Collection, Iterator, Sequence
from typing import NoReturn

from runnerd.backends.llamacpp.flag_refusals import REASONS, UNKNOWN
from runnerd.backends.llamacpp.flag_table import FLAGS, Flag
from runnerd.backends.llamacpp.flag_types import Choice, is_number_like
from runnerd.errors import InvalidConfiguration

_BY_NAME = {name: flag for flag in FLAGS for name in (flag.name, *flag.aliases)}
_PARAM = "runtime-flags"

# How weights are loaded: several switches, which newer engines have as one flag.
_LOAD_MODE = "--load-mode"
_LOADING = frozenset({"--mmap", "--no-mmap", "--mlock", "--direct-io", "--no-direct-io"})


def parse_flags(flags: Sequence[str]) -> list[str]:
    """Return `flags` as canonical argv tokens.

    Raises errors.InvalidConfiguration, whose message names the flag, the reason and the remedy.
    """
    tokens: list[str] = []
    for flag, value in _pairs(flags):
        tokens.append(flag.name)
        if value is not None:
            tokens.append(value)
    return tokens


def said(tokens: Sequence[str]) -> list[tuple[str, ...]]:
    """Return each flag of canonical tokens with its values; no value begins with two dashes."""
    starts = [place for place, token in enumerate(tokens) if token.startswith("--")]
    return [tuple(tokens[a:b]) for a, b in itertools.pairwise([*starts, len(tokens)])]


def spelled(tokens: Sequence[str], options: Collection[str], version: str = "") -> list[str]:
    """Return canonical tokens in the words of an engine that knows these `options`.

    One whose help does not name even --ctx-size is not understood, and told everything.  Raises
    errors.InvalidConfiguration for a flag that it does not have.
    """
    if "--ctx-size" not in options:
        return list(tokens)
    result: list[str] = []
    loading: list[str] = []
    for name, *values in said(tokens):
        if name in _LOADING and name not in options and _LOAD_MODE in options:
            loading.append(name)
            continue
        result += [_known(name, options, version), *values]
    return [*result, *_load_mode(loading)]


def extends_context(tokens: Sequence[str]) -> bool:
    """Return whether canonical tokens stretch a model over more than it was trained for."""
    return any(
        token.startswith(("--rope-", "--yarn-")) or ".context_length=" in token for token in tokens
    )


def _known(name: str, options: Collection[str], version: str) -> str:
    flag = _BY_NAME[name]
    found = next((each for each in (flag.name, *flag.aliases) if each in options), None)
    if found is None:
        engine = f"llama.cpp {version}".strip()
        raise InvalidConfiguration(
            f"runtime flag {name}: the engine that is installed here ({engine}) does not have it",
            param=_PARAM,
        )
    return found


def _load_mode(switches: Sequence[str]) -> list[str]:
    """The one flag that says what --mlock, --no-mmap and --direct-io said in older versions.

    Nothing for no switch: mmap is the default, mlock is not.
    """
    if not switches:
        return []
    maps = "--no-mmap" not in switches
    if "--direct-io" in switches:
        return [_LOAD_MODE, "dio"]
    if "--mlock" in switches:
        return [_LOAD_MODE, "mmap+mlock" if maps else "mlock"]
    if "--no-mmap" in switches or "--mmap" in switches:
        return [_LOAD_MODE, "mmap" if maps else "none"]
    return []


def _pairs(flags: Sequence[str]) -> Iterator[tuple[Flag, str | None]]:
    rest = list(reversed(flags))
    while rest:
        name, equals, inline = rest.pop().partition("=")
        flag = _BY_NAME.get(name)
        if flag is None:
            _refuse(name)
        value = inline if equals else None
        if value is None and flag.type is not None and rest and _is_value(rest[-1]):
            value = rest.pop()
        yield flag, _checked(flag, name, value)


def _is_value(text: str) -> bool:
    return not text.startswith("-") or is_number_like(text)


def _checked(flag: Flag, name: str, value: str | None) -> str | None:
    """Return the value in the engine's spelling."""
    if flag.type is None:
        if value is not None:
            raise InvalidConfiguration(f"runtime flag {name} takes no value", param=_PARAM)
        return None
    if value is None:
        if isinstance(flag.type, Choice) and flag.type.bare is not None:
            return flag.type.bare
        raise InvalidConfiguration(
            f"runtime flag {name} needs a value: {flag.type.description}", param=_PARAM
        )
    parsed = flag.type.parse(value)
    if parsed is None:
        raise InvalidConfiguration(
            f"runtime flag {name}: {value[:80]!r} is not {flag.type.description}", param=_PARAM
        )
    return parsed


def _refuse(name: str) -> NoReturn:
    if not name.startswith("-"):
        raise InvalidConfiguration(
            f"runtime flags: {name[:80]!r} is no flag, and no flag before it takes a value",
            param=_PARAM,
        )
    message = f"runtime flag {name[:80]!r} is not allowed: {REASONS.get(name, UNKNOWN)}"
    near = difflib.get_close_matches(name[:80], list(_BY_NAME), n=1, cutoff=0.6)
    if near and name not in REASONS:
        message += f"; did you mean {near[0]}?"
    raise InvalidConfiguration(message, param=_PARAM)
