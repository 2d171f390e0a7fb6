"""What an owner can set for one model.

It has two parts: what the engine is started with (`BackendConfiguration`, whose fingerprint
decides which requests can share a runner) and how its runners are kept, which changes without a
reload.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.parameters import CompletionParameters
from runnerd.config_errors import wrong_fields
from runnerd.errors import InvalidConfiguration
from runnerd.units import bounded_seconds, format_duration, parse_duration


def _seconds(value: object) -> object:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return bounded_seconds(value)
    return value


Duration = Annotated[
    float,
    Field(strict=True, ge=-1, allow_inf_nan=False),
    BeforeValidator(_seconds),
    PlainSerializer(format_duration),
    WithJsonSchema({"type": "string"}),
]
"""Seconds inside; in JSON Go's duration strings, `0` at once and `-1` for ever."""


def _several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Groups = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=64)], ...],
    Field(max_length=16),
    BeforeValidator(_several),
]

_ESSENTIAL = frozenset({
    "model", "messages", "prompt", "input", "stream", "stream_options", "input_prefix",
    "input_suffix",
})  # fmt: skip


def _not_essential(name: str) -> str:
    if name in _ESSENTIAL:
        raise ValueError(f"a request cannot do without {name!r}")
    return name


Strippable = Annotated[
    str, Field(pattern="^[a-z][a-z0-9_.]{0,63}$"), AfterValidator(_not_essential)
]
"""A parameter that requests can do without."""


class PreloadMessage(BaseModel):
    """One chat message."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: Annotated[str, Field(max_length=64 * 2**10)]


class ModelConfiguration(BackendConfiguration):
    """Everything that an owner can set for one model: the engine's part and how it is kept.

    `keep_alive` is how long an unused runner stays, None for the daemon's `idle_timeout`.
    `min_instances` are started with the daemon, kept, and brought back; up to `max_instances` are
    started under load.  A `pinned` model is never evicted and never expires.  Models that have an
    `exclusive_group` in common are never loaded together: one name, or several.  `preload` are chat
    messages, and `preload_prefix` is text, that each instance evaluates before it serves anybody.
    `completion_defaults` are added to completions that do not say them, `forced_parameters` replace
    what they say, `stripped_parameters` are taken out.
    """

    keep_alive: Annotated[
        Duration | None,
        Field(description="How long it stays loaded unused: 5m, 0 at once, -1 for ever."),
    ] = None
    min_instances: Annotated[
        int,
        Field(
            strict=True,
            ge=0,
            le=16,
            description="Instances that are started with the daemon, and again after a crash.",
        ),
    ] = 0
    max_instances: Annotated[
        int,
        Field(
            strict=True,
            ge=1,
            le=16,
            description="Instances that are started under load, if they fit.",
        ),
    ] = 1
    pinned: Annotated[
        bool, Field(strict=True, description="Never make room for another model, never expire.")
    ] = False
    exclusive_group: Annotated[
        Groups, Field(description="Models that have a group in common are never loaded together.")
    ] = ()
    preload: Annotated[
        tuple[PreloadMessage, ...],
        Field(
            max_length=64,
            description="Chat messages that each instance evaluates before it serves anybody:"
            ' [{"role": "system", "content": "..."}].',
        ),
    ] = ()
    preload_prefix: Annotated[
        str,
        Field(
            max_length=256 * 2**10,
            description="Text that each instance evaluates, for text completions that begin so.",
        ),
    ] = ""
    completion_defaults: Annotated[
        CompletionParameters | None,
        Field(description="Parameters for completions that do not say them."),
    ] = None
    forced_parameters: Annotated[
        CompletionParameters | None,
        Field(description="Parameters that take the place of what a completion says."),
    ] = None
    stripped_parameters: Annotated[
        tuple[Strippable, ...],
        Field(max_length=64, description="Parameters that are taken out of completions."),
    ] = ()

    @model_validator(mode="after")
    def _members_agree(self) -> Self:
        if self.isolate_users and (self.preload or self.preload_prefix):
            raise ValueError("with isolate_users nothing that is preloaded would be used")
        if self.min_instances > self.max_instances:
            raise ValueError("min_instances is more than max_instances")
        return self

    def fingerprint(self) -> str:
        """A text that is equal for two configurations exactly if one runner can serve both."""
        document = self.model_dump(
            by_alias=True,
            exclude_defaults=True,
            mode="json",
            include=set(BackendConfiguration.model_fields),
        )
        text = json.dumps(document, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


class ConfigurationKey(NamedTuple):
    """What a configuration belongs to; `model` is an id, or a name behind NAMED."""

    backend: str
    model: str
    mode: BackendMode


NAMED = "name="
"""What stands before a name where something is configured for a model that was not here."""


def validated(document: dict[str, Any]) -> ModelConfiguration:
    """The configuration that a document says.  Raises errors.InvalidConfiguration."""
    try:
        return ModelConfiguration.model_validate(document)
    except ValidationError as error:
        problem = wrong_fields(error)[0]
        raise InvalidConfiguration(str(problem), param=problem.where) from error
