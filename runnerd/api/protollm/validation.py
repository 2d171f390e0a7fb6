"""Bodies as ProtoLLM's models check them, and errors as its clients know them from FastAPI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError

from runnerd.errors import RunnerdError
from runnerd.jobs.fleet.protollm.documents import read_document

T = TypeVar("T", bound=BaseModel)
_MOST_MISTAKES = 50


class DetailErrors:
    """`{"detail": "..."}`; the status is HTTP's own."""

    media_type = "application/json"
    id_header: bytes | None = None

    def body(self, error: Mapping[str, Any], status: int) -> bytes:
        return msgspec.json.encode({"detail": error["message"]})

    def event(self, error: Mapping[str, Any]) -> bytes:
        return self.body(error, 500)


PROTOLLM = DetailErrors()


class Invalid(RunnerdError):
    """A body or query with mistakes, each of which is in `detail` as FastAPI lists them."""

    status = 422
    code = "invalid_request"

    def __init__(self, detail: list[dict[str, Any]]) -> None:
        super().__init__("the request is not valid")
        self.detail = detail


def read_body(model: type[T], body: bytes) -> T:
    """A request's body.  Raises Invalid."""
    try:
        document = read_document(body)
    except (ValueError, RecursionError) as error:
        position = getattr(error, "pos", 0)
        words = getattr(error, "msg", "not UTF-8, half a character, or too deep")
        raise Invalid(
            [
                {
                    "type": "json_invalid",
                    "loc": ["body", position],
                    "msg": "JSON decode error",
                    "input": {},
                    "ctx": {"error": words},
                }
            ]
        ) from error
    try:
        return model.model_validate(document)
    except ValidationError as error:
        mistakes = error.errors(include_url=False)[:_MOST_MISTAKES]
        raise Invalid([_in_body(each) for each in mistakes]) from error


def missing_query(name: str) -> Invalid:
    """A query parameter is required."""
    return Invalid(
        [{"type": "missing", "loc": ["query", name], "msg": "Field required", "input": None}]
    )


def wrong_length(name: str, length: int, most: int) -> Invalid:
    """A text of the body is empty or too long."""
    kind, words = ("too_long", f"at most {most}") if length else ("too_short", "at least 1")
    detail = {
        "type": f"string_{kind}",
        "loc": ["body", name],
        "msg": f"String should have {words} character{'s' if length else ''}",
        "input": f"{length} characters",
    }
    return Invalid([detail])


def _in_body(mistake: Any) -> dict[str, Any]:
    return {
        "type": mistake["type"],
        "loc": ["body", *mistake["loc"]],
        "msg": mistake["msg"],
        "input": mistake["input"],
    }
