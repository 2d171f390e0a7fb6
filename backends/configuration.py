"""What a runner is started for, and what an owner set for one model.

JSON names are those of Docker Model Runner's `inference.Backend` (seed 004).
"""

from __future__ import annotations

import enum
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from runnerd.backends.placement import Placement

_ENGINE = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")


def _engine_name(text: str) -> str:
    if not _ENGINE.fullmatch(text):
        raise ValueError(
            "must be the name of an engine, such as cuda, cpu or path, and not a file: the path of "
            "a llama-server of your own goes into `path` of the backend's settings"
        )
    return text


EngineName = Annotated[str, AfterValidator(_engine_name)]
"""One of several installed engines."""


class BackendMode(enum.StrEnum):
    """What a runner is started for; the values are Docker Model Runner's mode strings."""

    COMPLETION = "completion"
    EMBEDDING = "embedding"
    RERANKING = "reranking"


# What can be the name of a model, and never a path out of somewhere; the store knows the rest.
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.:@-]*"
_NAME = rf"^{_PART}(/{_PART})*$"


class SpeculativeDecoding(BaseModel):
    """A second, smaller model that drafts tokens for the first to confirm."""

    model_config = ConfigDict(extra="forbid")

    draft_model: Annotated[
        str, Field(max_length=512, pattern=_NAME, description="The smaller model's name.")
    ]
    num_tokens: Annotated[
        int, Field(ge=0, le=64, description="Tokens drafted at a time; 0: the engine's choice.")
    ] = 0
    min_acceptance_rate: Annotated[
        float, Field(ge=0, le=1, description="The least probability of a token that is drafted.")
    ] = 0.0
    goes_along: Annotated[
        bool, Field(description="It came along, and is removed with the last model it drafts for.")
    ] = False


_FlagText = Annotated[str, Field(max_length=66 * 2**10)]  # a schema is the longest there is


class BackendConfiguration(BaseModel):
    """What an owner set for one model.  JSON names are those of seed 004.

    `context_size` is in tokens; None lets the backend choose, -1 asks for the trained maximum.
    `runtime_flags` are checked against the backend's allow-list before they are stored.  `parallel`
    is how many requests a runner works on at a time, None for the backend's choice.  `engine` is
    one of several installed engines by name (`cuda`, `cpu`, `path`), None for the backend's choice.
    With `isolate_users` the engine reuses nothing of an earlier prompt: how quickly it answers one
    user tells nothing of what another one has asked.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    context_size: Annotated[
        int | None,
        Field(
            alias="context-size",
            ge=-1,
            le=2**31 - 1,
            description="Tokens of each request and its response together; -1 is the trained"
            " maximum.",
        ),
    ] = None
    runtime_flags: Annotated[
        list[_FlagText],
        Field(
            alias="runtime-flags",
            max_length=128,
            description="Flags of llama-server, of those that are harmless, each word by itself.",
        ),
    ] = []
    speculative: Annotated[
        SpeculativeDecoding | None,
        Field(description="A smaller model drafts tokens that this one confirms."),
    ] = None
    parallel: Annotated[
        int | None,
        Field(
            strict=True,
            ge=1,
            le=256,
            description="Requests that one instance works on at a time, each with the whole"
            " context.",
        ),
    ] = None
    placement: Annotated[
        Placement | None,
        Field(description="On which devices it lies; default: where there is room."),
    ] = None
    engine: Annotated[
        EngineName | None,
        Field(
            description="One of several installed engines, such as cuda or cpu; default: the best."
        ),
    ] = None
    isolate_users: Annotated[
        bool,
        Field(
            strict=True,
            description="Reuse nothing of earlier prompts, so that speed tells nobody what others"
            " have asked.",
        ),
    ] = False

    def to_json(self) -> dict[str, object]:
        """Return the JSON form, without what was not set."""
        document: dict[str, object] = self.model_dump(
            by_alias=True, exclude_defaults=True, mode="json"
        )
        return document
