"""ProtoLLM's calls, as its clients make them and its SDK reads them.

What becomes of a job is never an HTTP error: a failure's words are the content, as in ProtoLLM
1.1.  A call waits for its result, or returns the job's id at once where the settings say so, or its
client does with `Prefer: respond-async`.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TypeVar

import msgspec
from aiohttp import web
from pydantic import BaseModel

from runnerd.access import Action
from runnerd.api.context import CONTEXT, json_response, models_of, principal_of
from runnerd.api.protollm.broker_queues import check_queue
from runnerd.api.protollm.prompt_models import is_here, model_of, only_model
from runnerd.api.protollm.validation import (
    PROTOLLM,
    Invalid,
    missing_query,
    read_body,
    wrong_length,
)
from runnerd.api.routing import Handler, Routes
from runnerd.errors import JobNotFound, ModelNotFound, PayloadTooLarge
from runnerd.jobs.fleet.protollm.prompts import ChatCompletionModel, PromptModel
from runnerd.jobs.fleet.protollm.result_keys import JobStatus, Outcome
from runnerd.jobs.fleet.protollm.task_message import DEFAULT_QUEUE, MOST_LETTERS
from runnerd.relay.visible_models import VisibleModels

ROUTES = Routes(PROTOLLM)

_MOST_BYTES = 16 * 2**20
_NOT_FINISHED = "job do not finished"  # their words

T = TypeVar("T", bound=BaseModel)


class EmbedRequest(BaseModel):
    """The body of `POST /embed`, as text-embeddings-inference has it."""

    inputs: str | list[str]
    truncate: bool = True


def _explained(handler: Handler) -> Handler:
    """A handler whose mistakes in the request are listed one by one."""

    async def call(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except Invalid as error:
            return json_response({"detail": error.detail}, status=error.status)

    return call


@ROUTES.post("/generate", Action.USE_JOBS)
@_explained
async def generate(request: web.Request) -> web.Response:
    """A text that goes on with a prompt."""
    prompt = await _body(request, PromptModel)
    return await _complete(request, ChatCompletionModel.from_prompt(prompt))


@ROUTES.post("/chat_completion", Action.USE_JOBS)
@_explained
async def chat_completion(request: web.Request) -> web.Response:
    """The next message of a conversation."""
    return await _complete(request, await _body(request, ChatCompletionModel))


@ROUTES.post("/check_status", Action.USE_JOBS)
@_explained
async def check_status(request: web.Request) -> web.Response:
    """How a job stands, and its result once there is one."""
    job_id = request.query.get("job_id")
    if job_id is None:
        raise missing_query("job_id")
    found = await request.app[CONTEXT].prompts.find(principal_of(request), job_id)
    if found is None:
        raise JobNotFound(f"Status for job: {job_id[:200]} not found")
    content: object = {
        JobStatus.COMPLETED: {"result": found.text},  # an object, as the published API sends it
        JobStatus.ERROR: None,
    }.get(found.status, _NOT_FINISHED)
    return json_response(
        {
            "job_id": job_id,
            "job_status": found.status.value,
            "content": content,
            "error": found.error or None,
        }
    )


@ROUTES.post("/embed", Action.USE_MODEL)
@_explained
async def embed(request: web.Request) -> web.Response:
    """The vectors of one text, or of several."""
    asked = await _body(request, EmbedRequest)
    context, models = request.app[CONTEXT], models_of(request)
    model = context.settings.protollm.embedding_model or only_model(models, "embedding")
    if model is None:
        raise ModelNotFound("several models embed, or none: set protollm.embedding_model")
    body = msgspec.json.encode({"model": model, "input": asked.inputs})
    async with context.exchanges.streamed(
        "/v1/embeddings", body, principal_of(request)
    ) as response:
        found = msgspec.json.decode(b"".join([piece async for piece in response]))
    return json_response([each["embedding"] for each in found["data"]])


async def _complete(request: web.Request, prompt: ChatCompletionModel) -> web.Response:
    context = request.app[CONTEXT]
    settings, named = context.settings.protollm, prompt.meta.model
    queue = request.query.get("queue_name") or DEFAULT_QUEUE
    model = None
    if settings.broker:  # the workers know which models there are
        _check_for_broker(request, prompt, queue)
    else:
        model = model_of(models_of(request), settings.queues, queue, named)
    later = settings.at_once or "respond-async" in request.headers.get("Prefer", "")
    ticket = await context.prompts.submit(
        principal_of(request), prompt, model=model, queue=queue, waited_for=not later
    )
    if later:
        return json_response({"content": prompt.job_id})
    try:
        async with asyncio.timeout(settings.answer_timeout):
            outcome = await ticket.outcome()
    except TimeoutError:
        waited = f"nothing after {settings.answer_timeout:g} s"
        return json_response({"content": f"Job dont finish in fixed time with Error:\n{waited}"})
    return json_response({"content": _content(outcome)})


def _check_for_broker(request: web.Request, prompt: ChatCompletionModel, queue: str) -> None:
    """Refuse what no worker would carry out, or not for this client.  Raises Invalid,
    errors.ModelNotFound.
    """
    context, principal = request.app[CONTEXT], principal_of(request)
    if not 0 < len(prompt.job_id) <= MOST_LETTERS:
        raise wrong_length("job_id", len(prompt.job_id), MOST_LETTERS)
    limited = context.policy.grants(principal) is not None
    visible = VisibleModels(context.store, context.policy)
    check_queue(
        queue,
        prompt.meta.model,
        queues=context.settings.protollm.queues,
        published=context.prompts.published,
        is_model=is_here(visible.of(principal), queue),
        may_use=partial(visible.may_be, principal) if limited else None,
    )


def _content(outcome: Outcome) -> str:
    return outcome.error if outcome.status is JobStatus.ERROR else outcome.text


async def _body(request: web.Request, model: type[T]) -> T:
    """Read and check a request's body.  Raises Invalid, errors.PayloadTooLarge."""
    body = b""
    while more := await request.content.read(_MOST_BYTES):
        body += more
        if len(body) > _MOST_BYTES:
            raise PayloadTooLarge(f"the request body exceeds {_MOST_BYTES} bytes")
    return read_body(model, body)
