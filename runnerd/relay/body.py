"""JSON bodies of requests: decoded in C, changed without building the document.

Only the few fields that matter are decoded; schemas and prompts stay raw spans of the client's own
bytes, whose size is what counts.
"""

from __future__ import annotations

from typing import Any

import msgspec

from runnerd.errors import ClientError

Body = bytes | bytearray
"""A large body is a bytearray: it was collected in place."""

UNSAID = msgspec.Raw(b"")
ABSENT = (UNSAID, msgspec.Raw(b"null"))
ALONE = (*ABSENT, msgspec.Raw(b"1"))  # how `n` asks for one response


class ModelName(str):
    """The value of a top-level `model` member."""

    __slots__ = ()


class Inference(msgspec.Struct, gc=False):
    """The fields of an inference request that the relay looks at; unknown ones pass through."""

    model_name: ModelName = msgspec.field(name="model", default=ModelName())
    stream: bool | None = None
    input: msgspec.Raw = UNSAID
    messages: msgspec.Raw = UNSAID
    max_tokens: msgspec.Raw = UNSAID
    max_completion_tokens: msgspec.Raw = UNSAID
    n_predict: msgspec.Raw = UNSAID
    prompt: msgspec.Raw = UNSAID  # from here on: what `is_plain` is about
    documents: msgspec.Raw = UNSAID
    return_documents: msgspec.Raw = UNSAID
    grammar: msgspec.Raw = UNSAID
    json_schema: msgspec.Raw = UNSAID
    response_format: msgspec.Raw = UNSAID
    tools: msgspec.Raw = UNSAID
    tool_choice: msgspec.Raw = UNSAID
    chat_template_kwargs: msgspec.Raw = UNSAID
    id_slot: msgspec.Raw = UNSAID
    n_discard: msgspec.Raw = UNSAID
    n: msgspec.Raw = UNSAID
    logprobs: msgspec.Raw = UNSAID
    dimensions: msgspec.Raw = UNSAID
    suffix: msgspec.Raw = UNSAID
    echo: msgspec.Raw = UNSAID
    system: msgspec.Raw = UNSAID  # Anthropic's
    stop: msgspec.Raw = UNSAID
    stop_sequences: msgspec.Raw = UNSAID  # Anthropic's
    dry_sequence_breakers: msgspec.Raw = UNSAID
    samplers: msgspec.Raw = UNSAID
    logit_bias: msgspec.Raw = UNSAID
    lora: msgspec.Raw = UNSAID
    grammar_triggers: msgspec.Raw = UNSAID
    preserved_tokens: msgspec.Raw = UNSAID
    reasoning_budget_message: msgspec.Raw = UNSAID
    reasoning_budget_start_tag: msgspec.Raw = UNSAID
    reasoning_budget_end_tag: msgspec.Raw = UNSAID
    reasoning_budget_end_tags: msgspec.Raw = UNSAID
    generation_prompt: msgspec.Raw = UNSAID
    chat_parser: msgspec.Raw = UNSAID
    top_logprobs: msgspec.Raw = UNSAID
    n_probs: msgspec.Raw = UNSAID

    @property
    def model(self) -> str:
        """What the client called the model."""
        return str(self.model_name)

    @property
    def is_plain(self) -> bool:
        """Whether nothing is said but model, stream, input, messages and how many tokens there may
        be: then there is nothing to check, to put in other words or to mend in the response.
        """
        return msgspec.structs.astuple(self)[_PLAIN:] == _NOTHING_ELSE

    def token_limit(self) -> int | None:
        """How many tokens one response may have; None where no limit is said, where several names
        say different ones, or where several responses are asked for.
        """
        names = self.max_tokens, self.max_completion_tokens, self.n_predict
        if names == _NO_LIMIT:
            return None
        said = [raw for raw in names if raw is not UNSAID]
        if self.n not in ALONE or said.count(said[0]) != len(said):
            return None
        limit = number(said[0], default=0)
        return limit if limit > 0 else None

    def answers(self) -> int:
        """Return how many responses to each prompt are asked for."""
        return max(1, number(self.n, default=1))


_NO_LIMIT = (UNSAID,) * 3
_PLAIN = Inference.__struct_fields__.index("prompt")
_NOTHING_ELSE = (UNSAID,) * (len(Inference.__struct_fields__) - _PLAIN)


class _Reader:
    """Decodes bodies and notices a second `model`: two readers could disagree on which one counts.

    The decoder calls back for each value of a type that it does not know, and it reads escaped
    names as what they mean; so this needs no search of the body.
    """

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(Inference, dec_hook=self._name).decode
        self._names = 0

    def read(self, body: Body) -> Inference:
        """Return the fields.  Raises msgspec's errors and errors.ClientError."""
        self._names = 0
        inference = self._decode(body)
        if self._names > 1:
            raise ClientError("the request body names `model` twice", param="model")
        return inference

    def _name(self, kind: type, value: object) -> ModelName:
        self._names += 1
        if not isinstance(value, str):
            raise ValueError("`model` must be a string")
        return ModelName(value)


read_fields = _Reader().read
decode_any = msgspec.json.Decoder().decode
decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding a body can raise."""


def undecodable(error: Exception) -> ClientError:
    """What a client is told of a body that cannot be decoded."""
    if isinstance(error, msgspec.ValidationError):
        return ClientError(f"invalid request body: {error}")
    return ClientError(f"the request body is not valid JSON: {error}")


def json_object(body: Body) -> dict[str, Any]:
    """Return a body that is a JSON object.  Raises errors.ClientError."""
    try:
        document = decode_any(body)
    except UNDECODABLE as error:
        raise undecodable(error) from error
    if not isinstance(document, dict):
        raise ClientError("the request body must be a JSON object")
    return document


def members_of(body: Body) -> dict[str, msgspec.Raw]:
    """Return the members of a body that is a JSON object, their values as the client's own bytes.

    Raises errors.ClientError.
    """
    try:
        return decode_members(body)
    except UNDECODABLE as error:
        raise undecodable(error) from error


def streamed(body: Body) -> tuple[bytes | memoryview, ...]:
    """Return the body with streaming switched on, by appending to the object.

    The engine (nlohmann::json) keeps the last of two equal keys, so nothing has to be removed, and
    the body is not copied.
    """
    return unclosed(body), STREAMED_END


def unclosed(body: Body) -> memoryview:
    """Return an object's text without its end: members can be put behind it."""
    return memoryview(body)[: body.rindex(b"}")]


UNCACHED_END = b',"cache_prompt":false}'
"""The end of an object that has the engine evaluate a prompt from its beginning."""

STREAMED_END = b',"stream":true,"stream_options":{"include_usage":true}}'
"""The end of an object that switches streaming on."""


def prompt_texts(raw: msgspec.Raw) -> list[str]:
    """Return the prompts in a field; none where they are tokens, whose text nobody here knows."""
    try:
        prompts = msgspec.json.decode(raw, type=str | list[str])
    except msgspec.MsgspecError:
        return []
    return [prompts] if isinstance(prompts, str) else prompts


def number(raw: msgspec.Raw, *, default: int) -> int:
    """Return a field's whole number, `default` where it has none."""
    try:
        return msgspec.json.decode(raw, type=int)
    except msgspec.MsgspecError:
        return default
