"""What the relay must know of a JSON body, without building the document.

The body is decoded once, in C, into the few fields that matter; schemas and prompts stay raw spans
whose size is what counts.  The caps protect the engine, which one small request can crash (a
deeply nested grammar or schema) or starve (thousands of prompts); `reliability` in
docs/architecture.md has the list.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

import msgspec

from runnerd.config import Limits
from runnerd.errors import ClientError, PayloadTooLarge

Body = bytes | bytearray
"""A large body is a bytearray: it was collected in place."""

_NONE = msgspec.Raw(b"")
ABSENT = (_NONE, msgspec.Raw(b"null"))
ALONE = (*ABSENT, msgspec.Raw(b"1"))  # how `n` asks for one answer
_AT_MOST_ONE = (_NONE, msgspec.Raw(b"1"))
_NO_LIMIT = (_NONE,) * 3

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_CONTAINER = re.compile(rb"\[[^][{}]*+\]|\{[^][{}]*+\}")
_AS_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))
# No encoder escapes ASCII letters or the underscore; a name written so is hiding from a plain
# search.
_ESCAPED_NAME = re.compile(rb"\\u00[4-7]")
_ARRAY = ord("[")
_ENTRY = 2  # bytes of the shortest entry of an array, with its comma
_GRAMMAR_DEPTH = 64
_ENUM_ENTRIES = 1000


class ModelName(str):
    """The value of a top-level `model` member."""

    __slots__ = ()


class Inference(msgspec.Struct, gc=False):
    """The fields of an inference request that the relay looks at; unknown ones pass through."""

    model_name: ModelName = msgspec.field(name="model", default=ModelName())
    stream: bool | None = None
    prompt: msgspec.Raw = _NONE
    input: msgspec.Raw = _NONE
    documents: msgspec.Raw = _NONE
    return_documents: msgspec.Raw = _NONE
    grammar: msgspec.Raw = _NONE
    json_schema: msgspec.Raw = _NONE
    response_format: msgspec.Raw = _NONE
    tools: msgspec.Raw = _NONE
    tool_choice: msgspec.Raw = _NONE
    chat_template_kwargs: msgspec.Raw = _NONE
    id_slot: msgspec.Raw = _NONE
    n_discard: msgspec.Raw = _NONE
    n: msgspec.Raw = _NONE
    max_tokens: msgspec.Raw = _NONE
    max_completion_tokens: msgspec.Raw = _NONE
    n_predict: msgspec.Raw = _NONE
    logprobs: msgspec.Raw = _NONE
    dimensions: msgspec.Raw = _NONE
    suffix: msgspec.Raw = _NONE
    echo: msgspec.Raw = _NONE

    @property
    def model(self) -> str:
        """What the client called the model."""
        return str(self.model_name)

    def has_one_token(self) -> bool:
        """Return whether one answer of one token is asked for, by whatever name says so."""
        limits = (self.max_tokens, self.max_completion_tokens, self.n_predict)
        if limits == _NO_LIMIT or self.n not in ALONE:
            return False
        return all(raw in _AT_MOST_ONE for raw in limits)

    def answers(self) -> int:
        """Return how many answers to each prompt are asked for."""
        return max(1, number(self.n, default=1))


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


_read = _Reader().read
_decode_any = msgspec.json.Decoder().decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def inspect(body: Body, limits: Limits) -> Inference:
    """Decode a body as far as the relay needs it and hold it against the limits.

    Raises errors.ClientError (400) or errors.PayloadTooLarge (413), naming the field.
    """
    try:
        inference = _read(body)
    except RecursionError:
        _too_deep(limits.json_depth)
    except UNDECODABLE as error:
        raise undecodable(error) from error
    # A flat body is told by a search, which is much cheaper than counting.
    nested = body.find(b"{", 1) >= 0 or b"[" in body
    if nested and body.count(b"{") + body.count(b"[") > limits.json_depth:
        _check_depth(body, limits.json_depth)
    if not inference.model_name:
        raise ClientError("model is required", param="model")
    _check_fields(inference, limits, len(body))
    # A search for one byte is much cheaper than one for a word.
    escaped = b"\\" in body and b"\\u00" in body and _ESCAPED_NAME.search(body) is not None
    if escaped or (b"_" in body and b'image_url"' in body):
        _check_images(_decode_any(body))
    return inference


UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding a body can raise."""


def undecodable(error: Exception) -> ClientError:
    """Return what a client is told of a body that cannot be decoded."""
    if isinstance(error, msgspec.ValidationError):
        return ClientError(f"invalid request body: {error}")
    return ClientError(f"the request body is not valid JSON: {error}")


def json_object(body: Body) -> dict[str, Any]:
    """Return a body that is a JSON object.  Raises errors.ClientError."""
    try:
        document = _decode_any(body)
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
        return _decode_members(body)
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


def _check_depth(body: Body, limit: int) -> None:
    """Bound the nesting of valid JSON, by taking away the innermost layer of brackets each time."""
    brackets = _STRING.sub(b"", body).translate(_AS_SQUARE, _NO_BRACKET)
    for _ in range(limit):
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"")
    if brackets:
        _too_deep(limit)


def _too_deep(limit: int) -> NoReturn:
    raise ClientError(f"the request body is nested deeper than {limit} levels")


def _check_fields(inference: Inference, limits: Limits, size: int) -> None:
    """Hold the fields that are there, of a body of `size` bytes, against the limits."""
    _check_seldom(inference, limits)
    if inference.prompt is not _NONE and size > _ENTRY * limits.prompts:
        _check_count("prompt", inference.prompt, limits.prompts)
    if inference.input is not _NONE and size > _ENTRY * limits.inputs:
        _check_count("input", inference.input, limits.inputs)


def _check_seldom(inference: Inference, limits: Limits) -> None:
    """Check the fields that most requests have none of, at the cost of one comparison for those."""
    seldom = (
        inference.id_slot,
        inference.n_discard,
        inference.grammar,
        inference.json_schema,
        inference.response_format,
        inference.chat_template_kwargs,
        inference.tools,
        inference.documents,
    )
    if seldom == _NO_SELDOM:
        return
    for name, raw in (("id_slot", inference.id_slot), ("n_discard", inference.n_discard)):
        if raw is not _NONE and bytes(raw) != b"null":
            raise ClientError(f"{name} is the engine's own business and cannot be set", param=name)
    for name, raw in (
        ("grammar", inference.grammar),
        ("json_schema", inference.json_schema),
        ("response_format", inference.response_format),
        ("chat_template_kwargs", inference.chat_template_kwargs),
    ):
        if raw is not _NONE:
            _check_schema(name, bytes(raw), limits.schema_bytes)
    if inference.tools is not _NONE:
        _check_tools(bytes(inference.tools), limits.schema_bytes)
    if inference.documents is not _NONE:
        _check_count("documents", inference.documents, limits.inputs)


_NO_SELDOM = (_NONE,) * 8


def _check_schema(name: str, raw: bytes, limit: int) -> None:
    if len(raw) > limit:
        raise PayloadTooLarge(f"{name} is larger than {limit} bytes", param=name)
    if b"enum" in raw and raw.count(b",") >= _ENUM_ENTRIES:
        _check_enums(name, _decode_any(raw))
    if name == "grammar" and raw.startswith(b'"'):
        _check_grammar(raw)


def _check_tools(raw: bytes, limit: int) -> None:
    if len(raw) > 16 * limit:
        raise PayloadTooLarge(f"tools are larger than {16 * limit} bytes", param="tools")
    if raw.startswith(b"["):
        for tool in _decode_list(raw):
            _check_schema("tools", bytes(tool), limit)


def _check_grammar(raw: bytes) -> None:
    depth = 0
    for byte in raw:
        if byte in b"([{":
            depth += 1
            if depth > _GRAMMAR_DEPTH:
                raise ClientError(
                    f"the grammar is nested deeper than {_GRAMMAR_DEPTH} levels", param="grammar"
                )
        elif byte in b")]}":
            depth = max(0, depth - 1)


def _check_enums(name: str, document: Any) -> None:
    todo = [document]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            entries = value.get("enum")
            if isinstance(entries, list) and len(entries) > _ENUM_ENTRIES:
                raise ClientError(f"an enum has more than {_ENUM_ENTRIES} entries", param=name)
            todo.extend(value.values())
        elif isinstance(value, list):
            todo.extend(value)


def _check_count(name: str, raw: msgspec.Raw, limit: int) -> None:
    if count_prompts(raw) > limit:
        raise ClientError(f"{name} has more than {limit} entries", param=name)


def count_prompts(raw: msgspec.Raw) -> int:
    """Return how many prompts a field has; an array of token numbers is one prompt.

    Nothing is built from it: an array of 64 MB can have 30 million entries.
    """
    if raw is _NONE:
        return 1
    text = memoryview(raw)
    if text[0] != _ARRAY:
        return 1
    flat, found = _STRING.sub(b'"', text[1:-1]), 1
    while found:
        flat, found = _CONTAINER.subn(b"^", flat)
    return max(1, flat.count(b'"') + flat.count(b"^"))


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


def _check_images(document: Any) -> None:
    """Refuse images by address: the engine would fetch them from the GPU host's network."""
    todo = [document]
    while todo:
        value = todo.pop()
        if isinstance(value, list):
            todo.extend(value)
        elif isinstance(value, dict):
            image = value.get("image_url")
            url = image.get("url") if isinstance(image, dict) else image
            if isinstance(url, str) and not url.startswith("data:"):
                raise ClientError(
                    "images must be sent inline as data: URLs; the daemon fetches nothing",
                    param="image_url",
                )
            todo.extend(value.values())
