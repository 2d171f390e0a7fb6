"""What is said of jobs in requests to `/runnerd/jobs`, and how they are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from runnerd.api.admin import fields
from runnerd.api.context import CONTEXT, principal_of, text_field, timestamp
from runnerd.api.job_access import id_of, model_asked
from runnerd.errors import ClientError
from runnerd.jobs.job import (
    DERIVED_IDS,
    LEAST_PRIORITY,
    MOST_PRIORITY,
    Attempt,
    Job,
    NewJob,
    Prompt,
    Response,
    chosen_id,
    is_id,
    new_id,
)
from runnerd.jobs.queue import Count

_MOST_PROMPTS, _MOST_COPIES = 1000, 100
_MOST_SECONDS = 366 * 86400.0
_CHAT = "/v1/chat/completions"
_ASKED = ("prompt", "prompts", "messages", "requests")
_MEMBERS = (
    *_ASKED, "model", "parameters", "id", "priority", "expires_in", "runtime", "copies", "stream",
)  # fmt: skip


def new_jobs(request: web.Request, document: dict[str, Any]) -> list[NewJob]:
    """The jobs that somebody submits: one, or as many as there are to be copies.

    Raises errors.ClientError, ModelNotFound.
    """
    fields.only(document, _MEMBERS, "a job")
    model = text_field(document, "model", required=True) or ""
    name = model_asked(request, model)
    copies = _whole(document, "copies", 1, 1, _MOST_COPIES)
    id = text_field(document, "id") or ""
    if id and (copies > 1 or not is_id(id)):
        raise ClientError("id is 1 to 64 letters, digits, - and _, of one job", param="id")
    if id.startswith(DERIVED_IDS):
        raise ClientError(f"ids that begin with {DERIVED_IDS} are ProtoLLM's", param="id")
    expires_in = _seconds(document, "expires_in")
    group = new_id() if copies > 1 else ""
    return [
        NewJob(
            principal_of(request),
            name,
            _prompts(request, document, model),
            chosen_id(principal_of(request).id, id) if id else "",
            _whole(document, "priority", 0, LEAST_PRIORITY, MOST_PRIORITY),
            None if expires_in is None else request.app[CONTEXT].jobs.clock() + expires_in,
            _seconds(document, "runtime"),
            group,
            copy,
            bool(document.get("stream", True)),
        )
        for copy in range(copies)
    ]


def _prompts(request: web.Request, document: dict[str, Any], model: str) -> tuple[Prompt, ...]:
    said = [name for name in _ASKED if document.get(name) is not None]
    if len(said) != 1:
        raise ClientError(f"a job takes exactly one of {', '.join(_ASKED)}")
    asked = document[said[0]]
    parameters = document.get("parameters", {})
    if not isinstance(parameters, dict):
        raise ClientError("parameters is an object: members of each request", param="parameters")
    if said == ["requests"]:
        return _requests(request, asked, model, parameters)
    if said == ["messages"]:
        return (_chat(model, parameters, asked),)
    texts = [asked] if said == ["prompt"] else asked
    if not isinstance(texts, list) or not 0 < len(texts) <= _MOST_PROMPTS:
        raise ClientError(f"prompts is a list of 1 to {_MOST_PROMPTS} texts", param="prompts")
    if not all(isinstance(text, str) for text in texts):
        raise ClientError(f"{said[0]} is text", param=said[0])
    return tuple(_chat(model, parameters, [{"role": "user", "content": text}]) for text in texts)


def _chat(model: str, parameters: Mapping[str, Any], messages: Any) -> Prompt:
    body = {**parameters, "model": model, "messages": messages}
    return Prompt(_CHAT, msgspec.json.encode(body))


def _requests(
    request: web.Request, asked: Any, model: str, parameters: Mapping[str, Any]
) -> tuple[Prompt, ...]:
    if not isinstance(asked, list) or not 0 < len(asked) <= _MOST_PROMPTS:
        raise ClientError(f"requests is a list of 1 to {_MOST_PROMPTS}", param="requests")
    prompts = []
    for each in asked:
        path = each.get("path", _CHAT) if isinstance(each, dict) else None
        body = each.get("body") if isinstance(each, dict) else None
        if not isinstance(path, str) or request.app[CONTEXT].exchanges.route(path) is None:
            raise ClientError("the path of a request is an inference route", param="requests")
        if not isinstance(body, dict):
            raise ClientError("the body of a request is an object", param="requests")
        prompts.append(Prompt(path, msgspec.json.encode({**parameters, "model": model, **body})))
    return tuple(prompts)


def _whole(document: dict[str, Any], name: str, usual: int, least: int, most: int) -> int:
    value = document.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ClientError(f"{name} is a whole number from {least} to {most}", param=name)
    return value


def _seconds(document: dict[str, Any], name: str) -> float | None:
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ClientError(f"{name} is a number of seconds", param=name)
    if not 0 < value <= _MOST_SECONDS:
        raise ClientError(f"{name} is more than 0 and at most a year, in seconds", param=name)
    return float(value)


def job_json(request: web.Request, job: Job, *, whole: bool = True) -> dict[str, object]:
    """A job as the API shows it; without prompts, output and responses in lists."""
    shown: dict[str, object] = {
        "id": id_of(request, job),
        "user": request.app[CONTEXT].accounts.called(job.principal.id),
        "model": job.model,
        "state": job.state,
        "reason": job.reason,
        "created": timestamp(job.created),
        "started": _time(job.started),
        "ended": _time(job.ended),
        "runtime_seconds": job.seconds(request.app[CONTEXT].jobs.clock()),
        "priority": job.priority,
        "deadline": _time(job.deadline),
        "runtime": job.runtime,
        "group": job.group,
        "copy": job.copy,
        "details": dict(job.details),
        "worker": job.worker,
        "given_back": job.given_back,
        "attempts": [_attempt(attempt) for attempt in job.attempts],
    }
    if whole:
        shown["requests"] = [
            {"path": prompt.path, "body": msgspec.Raw(prompt.body)} for prompt in job.prompts
        ]
        shown["output"] = job.output
        shown["responses"] = [_response(response) for response in job.responses]
    return shown


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else timestamp(seconds)


def _attempt(attempt: Attempt) -> dict[str, object]:
    return {
        "worker": attempt.worker,
        "started": timestamp(attempt.started),
        "ended": timestamp(attempt.ended),
        "end": attempt.end,
        "reason": attempt.reason,
    }


def _response(response: Response) -> dict[str, object]:
    body: object = msgspec.Raw(response.body)
    if not response.content_type.startswith("application/json"):
        body = response.body.decode("utf-8", "replace")
    return {"status": response.status, "content_type": response.content_type, "body": body}


def queues_json(counts: list[Count]) -> list[dict[str, object]]:
    """How many jobs there are of each model, by state."""
    models: dict[str, dict[str, int]] = {}
    for count in counts:
        states = models.setdefault(count.model, {})
        states[count.state] = states.get(count.state, 0) + count.number
    return [{"model": model, **states} for model, states in sorted(models.items())]
