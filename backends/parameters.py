"""What an owner may say for every completion of a model: the engine's parameters, typed.

For the same reasons as the runtime flags: what is stored has a type and bounds, so that a slip is
an error when it is configured and not at each request, and nothing that opens a file can be set.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt

_Probability = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
_Number = Annotated[float, Field(strict=True, ge=0, le=100, allow_inf_nan=False)]
_Signed = Annotated[float, Field(strict=True, ge=-100, le=100, allow_inf_nan=False)]
_Count = Annotated[int, Field(strict=True, ge=-1, le=2**31 - 1)]
_Text = Annotated[str, Field(min_length=1, max_length=256)]
_Scalar = StrictBool | StrictInt | StrictFloat | _Text


class CompletionParameters(BaseModel):
    """Parameters of completions under OpenAI's and llama-server's names; None: not said."""

    model_config = ConfigDict(extra="forbid")

    temperature: _Number | None = None
    max_tokens: Annotated[int | None, Field(strict=True, ge=1, le=2**31 - 1)] = None
    top_p: _Probability | None = None
    top_k: Annotated[int | None, Field(strict=True, ge=0, le=2**31 - 1)] = None
    min_p: _Probability | None = None
    typical_p: _Probability | None = None
    seed: Annotated[int | None, Field(strict=True, ge=-1, le=2**32 - 1)] = None
    stop: Annotated[tuple[_Text, ...] | None, Field(min_length=1, max_length=16)] = None
    presence_penalty: _Signed | None = None
    frequency_penalty: _Signed | None = None
    repeat_penalty: _Number | None = None
    repeat_last_n: _Count | None = None
    dry_multiplier: _Number | None = None
    xtc_probability: _Probability | None = None
    reasoning_effort: Annotated[str | None, Field(pattern="^[a-z]{1,16}$")] = None
    chat_template_kwargs: Annotated[dict[_Text, _Scalar] | None, Field(max_length=16)] = None

    def said(self) -> dict[str, object]:
        """The parameters that are set, by their JSON names."""
        document: dict[str, object] = self.model_dump(exclude_none=True, mode="json")
        return document
