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

    temperature: Annotated[
        _Number | None, Field(description="How freely tokens are chosen; 0: always the likeliest.")
    ] = None
    max_tokens: Annotated[
        Annotated[int | None, Field(strict=True, ge=1, le=2**31 - 1)],
        Field(description="Tokens of a response, at most."),
    ] = None
    top_p: Annotated[
        _Probability | None,
        Field(description="Choose among the likeliest tokens that together have this probability."),
    ] = None
    top_k: Annotated[
        Annotated[int | None, Field(strict=True, ge=0, le=2**31 - 1)],
        Field(description="Choose among so many of the likeliest tokens; 0: all."),
    ] = None
    min_p: Annotated[
        _Probability | None,
        Field(description="Leave out tokens less likely than this share of the likeliest."),
    ] = None
    typical_p: Annotated[
        _Probability | None, Field(description="Prefer tokens of typical probability; 1: off.")
    ] = None
    seed: Annotated[
        Annotated[int | None, Field(strict=True, ge=-1, le=2**32 - 1)],
        Field(description="The same seed gives the same response; -1: another one each time."),
    ] = None
    stop: Annotated[
        Annotated[tuple[_Text, ...] | None, Field(min_length=1, max_length=16)],
        Field(description="Texts that end a response."),
    ] = None
    presence_penalty: Annotated[
        _Signed | None, Field(description="Against tokens that were there before.")
    ] = None
    frequency_penalty: Annotated[
        _Signed | None, Field(description="Against tokens, the more often they were there.")
    ] = None
    repeat_penalty: Annotated[
        _Number | None, Field(description="Against repetitions; 1: none.")
    ] = None
    repeat_last_n: Annotated[
        _Count | None,
        Field(description="How many tokens back repetitions count; -1: the whole context."),
    ] = None
    dry_multiplier: Annotated[
        _Number | None, Field(description="Against repeated sequences; 0: off.")
    ] = None
    xtc_probability: Annotated[
        _Probability | None, Field(description="How often the likeliest tokens are left out.")
    ] = None
    reasoning_effort: Annotated[
        Annotated[str | None, Field(pattern="^[a-z]{1,16}$")],
        Field(description="How long a model thinks: low, medium or high, as it knows them."),
    ] = None
    chat_template_kwargs: Annotated[
        Annotated[dict[_Text, _Scalar] | None, Field(max_length=16)],
        Field(description='Variables of the chat template: {"enable_thinking": false}.'),
    ] = None

    def said(self) -> dict[str, object]:
        """The parameters that are set, by their JSON names."""
        document: dict[str, object] = self.model_dump(exclude_none=True, mode="json")
        return document
