"""The lines of a batch's file: each is one request, and becomes one job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from runnerd.errors import RunnerdError
from runnerd.jobs.batches.rows import Batch, Fault
from runnerd.jobs.job import NewJob, Prompt

MOST_LINES = 50_000
MOST_LINE_BYTES = 16 * 2**20
_MOST_FAULTS = 100
_CUSTOM_ID_LETTERS = 512


class LineReader:
    """Turns the lines of a batch's file into jobs, and notes what is wrong with them.

    `model_asked` is the one spelling of a model; it raises for one that there is not for whose
    batch it is.
    """

    def __init__(self, batch: Batch, model_asked: Callable[[str], str]) -> None:
        self._batch = batch
        self._model_asked = model_asked
        self._models: dict[str, Fault | str] = {}
        self._seen: set[str] = set()
        self.faults: list[Fault] = []
        self.lines = 0
        self._empty = 0  # lines; they are looked at, too

    @property
    def hopeless(self) -> bool:
        """Whether there is no use in reading on."""
        return len(self.faults) >= _MOST_FAULTS or max(self.lines, self._empty) > MOST_LINES

    def read(self, line: bytes) -> NewJob | None:
        """The job of the next line; None for an empty line, or one with a fault."""
        if not line.strip():
            self._empty += 1
            if self._empty > MOST_LINES:
                self._fault("too_many_lines", f"a file has at most {MOST_LINES} empty lines")
            return None
        self.lines += 1
        if self.lines > MOST_LINES:
            self._fault("too_many_requests", f"a batch has at most {MOST_LINES} requests")
            return None
        request = self._document(line)
        return None if request is None else self._job(request)

    def end(self) -> None:
        """There are no more lines."""
        if not self.lines:
            self.faults.append(Fault("empty_file", "the file has no requests"))

    def _fault(self, code: str, message: str, param: str | None = None) -> None:
        if len(self.faults) < _MOST_FAULTS:
            self.faults.append(Fault(code, message, self.lines, param))

    def _document(self, line: bytes) -> dict[str, Any] | None:
        try:
            if len(line) > MOST_LINE_BYTES:
                raise ValueError(f"it is longer than {MOST_LINE_BYTES} bytes")
            document = msgspec.json.decode(line)
        except (ValueError, RecursionError) as error:
            self._fault("invalid_json_line", f"this line is not JSON: {error}")
            return None
        if not isinstance(document, dict):
            self._fault("invalid_json_line", "this line is not a JSON object")
            return None
        return document

    def _job(self, request: dict[str, Any]) -> NewJob | None:
        batch = self._batch
        custom_id, body = request.get("custom_id"), request.get("body")
        if not isinstance(custom_id, str) or not 0 < len(custom_id) <= _CUSTOM_ID_LETTERS:
            self._fault("missing_required_parameter", "custom_id is text", "custom_id")
        elif custom_id in self._seen:
            self._fault("duplicate_custom_id", "another line has the same custom_id", "custom_id")
        elif request.get("method", "POST") != "POST":
            self._fault("invalid_method", "the method is POST", "method")
        elif request.get("url") != batch.endpoint:
            self._fault(
                "mismatched_url", f"the url is the batch's endpoint, {batch.endpoint}", "url"
            )
        elif not isinstance(body, dict) or not isinstance(body.get("model"), str):
            self._fault("invalid_request", "body is an object with a model", "body")
        elif isinstance(model := self._model(body["model"]), Fault):
            self.faults.append(replace(model, line=self.lines))
        else:
            self._seen.add(custom_id)
            return NewJob(
                batch.owner,
                model,
                (Prompt(batch.endpoint, msgspec.json.encode(body)),),
                id=job_id(batch.id, self.lines),
                deadline=batch.deadline,
                group=batch.id,
                details={"custom_id": custom_id},
            )
        return None

    def _model(self, model: str) -> Fault | str:
        if model not in self._models:
            try:
                self._models[model] = self._model_asked(model)
            except RunnerdError as error:
                self._models[model] = Fault(error.code, error.message, None, "body.model")
        return self._models[model]


def job_id(batch: str, line: int) -> str:
    """The id of the job of a line: the same each time, so that nothing is submitted twice."""
    return f"{batch.removeprefix('batch_')}-{line:05d}"
