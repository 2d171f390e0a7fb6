"""The message that ProtoLLM's API puts into RabbitMQ, and the queue that it is put into.

It looks like Celery's and is not: no headers, no content type, another body.  The queue's
arguments have to be exactly these; RabbitMQ refuses a declaration with others (406), and a quorum
queue is one with others, so ProtoLLM's queues are classic ones.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from runnerd.errors import ClientError
from runnerd.jobs.fleet.protollm.documents import read_document
from runnerd.jobs.fleet.protollm.prompts import ChatCompletionModel, PromptModel
from runnerd.relay.body_scan import check_weight

HIGHEST_PRIORITY = 5
QUEUE_ARGUMENTS: dict[str, Any] = {"x-max-priority": HIGHEST_PRIORITY}
DEFAULT_QUEUE = "llm-api-queue"
MOST_BYTES = 32 << 20  # a message beyond that is not decoded

_PROMPTS: dict[str, type[ChatCompletionModel] | type[PromptModel]] = {
    "chat_completion": ChatCompletionModel,
    "single_generation": PromptModel,
}
MOST_LETTERS = 512  # of a job's id, which becomes part of keys
_DEPTH = 128  # of a task, as of a request (limits.json_depth)
_HEAD = 4096  # bytes of a task in which its job's id is looked for when it cannot be decoded
_ID = re.compile(rb'"job_id"\s*:\s*"([^"\\]{1,512})"')


class BadTask(ClientError):
    """A message that is no task; `job_id` is whose it is, as far as that can be read."""

    code = "bad_task"

    def __init__(self, message: str, job_id: str | None = None) -> None:
        super().__init__(message)
        self.job_id = job_id


@dataclass(frozen=True, slots=True)
class TaskMessage:
    """A conversation to go on with."""

    prompt: ChatCompletionModel

    @property
    def job_id(self) -> str:
        return self.prompt.job_id

    def encode(self) -> bytes:
        """The message's body."""
        document = {
            "type": "task",
            "task": "generate",
            "args": [],
            "kwargs": {"prompt": self.prompt.model_dump(), "prompt_type": "chat_completion"},
            "id": self.job_id,
            "retries": 0,
            "eta": None,
        }
        return json.dumps(document).encode()

    @classmethod
    def decode(cls, body: bytes) -> TaskMessage:
        """Read a message's body.  Raises BadTask."""
        if len(body) > MOST_BYTES:
            raise BadTask(f"a task of {len(body)} bytes; {MOST_BYTES} are allowed", _id_in(body))
        try:
            check_weight(body, _DEPTH)
        except ClientError as error:
            words = error.message.replace("the request body", "the task")
            raise BadTask(words, _id_in(body)) from error
        try:
            document = read_document(body)
        except (ValueError, RecursionError) as error:
            raise BadTask(f"a task that is no JSON: {error}", _id_in(body)) from error
        kwargs = document.get("kwargs") if isinstance(document, dict) else None
        if not isinstance(kwargs, dict):
            raise BadTask("a task without kwargs")
        prompt = kwargs.get("prompt")
        job_id = _job_id(prompt)
        model = _PROMPTS.get(str(kwargs.get("prompt_type", "chat_completion")))
        if model is None:
            raise BadTask(f"no prompt_type is called {kwargs['prompt_type']!r}"[:200], job_id)
        try:
            return cls(_as_chat(model.model_validate(prompt)))
        except ValidationError as error:
            raise BadTask(f"not a prompt: {_in_words(error)}", job_id) from error


def _as_chat(prompt: ChatCompletionModel | PromptModel) -> ChatCompletionModel:
    if isinstance(prompt, PromptModel):
        prompt = ChatCompletionModel.from_prompt(prompt)
    if len(prompt.job_id) > MOST_LETTERS:
        raise BadTask(f"a job_id of {len(prompt.job_id)} letters; {MOST_LETTERS} are allowed")
    return prompt


def _job_id(prompt: object) -> str | None:
    job_id = prompt.get("job_id") if isinstance(prompt, dict) else None
    usable = isinstance(job_id, str) and 0 < len(job_id) <= MOST_LETTERS
    return str(job_id) if usable else None


def _id_in(body: bytes) -> str | None:
    """The job's id in a body that is not decoded: ProtoLLM's API writes it near the beginning."""
    found = _ID.search(body, 0, _HEAD)
    try:
        return found[1].decode() if found else None
    except UnicodeDecodeError:
        return None


def _in_words(error: ValidationError) -> str:
    """The first few mistakes, without the values that were sent."""
    found = error.errors(include_url=False, include_input=False, include_context=False)[:3]
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found)
