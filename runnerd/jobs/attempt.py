"""One attempt at a job: its prompts are asked one after the other, and the queue is told.

| what happens | what becomes of the job |
|---|---|
| a prompt is refused (4xx, 501) | that is its response; a job of which all are has failed |
| the engine fails, memory runs out (5xx) | it is tried again, as far as the queue's policy goes |
| somebody has reached a limit, there is no place (429) | it waits in the queue; no try is counted |
| the daemon drains | it is given back |
| somebody who waits needs its place | it is given back, for a moment or longer |
| there are people, and more prompts | it is given back, behind the next job of somebody else |
| the user's jobs have as many bytes of results as they may have | it has failed |
| its runtime is over, what it waited for a place not counted | it has failed |
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from runnerd.access import Principal, by_any_key
from runnerd.errors import (
    Displaced,
    Draining,
    LeaseLost,
    Overloaded,
    ResultsFull,
    RunnerdError,
)
from runnerd.jobs.job import Prompt, Response
from runnerd.jobs.output import Output
from runnerd.jobs.prompt_reading import Reading, reading_of, text_of
from runnerd.jobs.queue import Claim, Work
from runnerd.jobs.run_time import RunTime
from runnerd.relay.streamed_response import StreamedResponse

_PAUSE = 5.0  # seconds until a job is tried again that found no place
_NOT_TO_BE_REPEATED = (501,)


class Inference(Protocol):
    """What attempts ask: the relay's exchanges."""

    def streamed(
        self, path: str, body: bytes, principal: Principal, *, background: bool = False
    ) -> AbstractAsyncContextManager[StreamedResponse]:
        """Ask as a request of a route would; the response is read as it comes."""
        ...


class _NextTurn(Exception):
    """Others' jobs are next, before more prompts of this one."""


class JobAttempt:
    """Runs the job of a claim once.  Cancelled, it tells the queue nothing.

    `pause` is for how many seconds the job is left alone where it has to make room for somebody
    who waits; then `displaced` says so.  `gives_way` says whether there are people beside whom
    jobs are let through one at a time, so that one of many prompts must not keep others waiting.
    """

    def __init__(
        self,
        queue: Work,
        inference: Inference,
        claim: Claim,
        *,
        pause: float = 1.0,
        gives_way: Callable[[], bool] = lambda: False,
    ) -> None:
        self._queue = queue
        self._inference = inference
        self._claim = claim
        self._output = Output(queue, claim)
        self._pause = pause
        self._gives_way = gives_way
        self._time = RunTime(claim.job.runtime)
        self.displaced = False
        self._placed = False  # for any prompt
        self._refused = ""  # why the last prompt was, if it was

    async def run(self) -> None:
        """Run it, and tell the queue what came of it."""
        try:
            async with self._time.limited():
                responses = await self._responses()
            await self._complete(responses)
        except LeaseLost:
            return  # it is somebody else's now, or nobody's
        except TimeoutError:
            await self._fail(f"it ran for longer than {self._claim.job.runtime:g} s", retry=False)
        except Draining:
            await self._release(0.0)
        except Displaced:
            self.displaced = True
            await self._release(self._pause)
        except _NextTurn:
            await self._release(0.0, turns=1)
        except Overloaded as error:
            await self._release(_PAUSE if error.retry_after is None else error.retry_after)
        except ResultsFull as error:
            await self._fail(error.message, retry=False)
        except RunnerdError as error:
            await self._fail(error.message, retry=True)

    async def _responses(self) -> list[Response]:
        """All responses; those of all prompts but the last were handed in."""
        job = self._claim.job
        responses = list(job.responses)
        self._output.add("\n".join(text_of(response) for response in responses))
        for number in range(len(responses), len(job.prompts)):
            if number:
                self._output.add("\n")
            response = await self._response(job.prompts[number])
            responses.append(response)
            if number + 1 < len(job.prompts):
                await self._output.flush([response])
                if self._gives_way() and not job.waited_for:
                    raise _NextTurn
        return responses

    async def _response(self, prompt: Prompt) -> Response:
        """The response to one prompt, be it a refusal.  Raises what is no fault of the prompt's."""
        try:
            reading = reading_of(prompt, streams=self._claim.job.streams)
            return await self._ask(prompt.path, reading)
        except Overloaded:
            raise
        except RunnerdError as error:
            if error.status >= 500 and error.status not in _NOT_TO_BE_REPEATED:
                raise
            self._refused = error.message
            return Response(error.status, msgspec.json.encode(error.body()))

    async def _ask(self, path: str, reading: Reading) -> Response:
        job = self._claim.job
        # A job is its user's, not the key's that submitted it, which may be rotated meanwhile.
        asking = self._inference.streamed(
            path, reading.body, by_any_key(job.principal), background=not job.waited_for
        )
        async with asking as stream:
            if not self._placed:
                self._await_place(stream)
            with self._time.asking(lambda: stream.waited()):
                return await self._read(stream, reading)

    def _await_place(self, stream: StreamedResponse) -> None:
        """Whoever looks is told that the job is queued, until it has had its first place."""
        if stream.has_place:
            self._placed = True
            return

        def placed() -> None:
            self._placed = True
            self._queue.waits(self._claim, waits=False)

        stream.when_placed = placed
        self._queue.waits(self._claim, waits=True)

    async def _read(self, stream: StreamedResponse, reading: Reading) -> Response:
        opening = await stream.opening()
        while True:
            try:
                async with asyncio.timeout(self._output.due_in()):
                    piece = await anext(stream)
            except StopAsyncIteration:
                break
            except TimeoutError:
                await self._output.flush()
                continue
            self._output.add(reading.feed(piece))
        response = reading.response(opening.status, opening.content_type.decode())
        if not reading.streams:
            self._output.add(text_of(response))
        return response

    async def _complete(self, responses: list[Response]) -> None:
        text, last = self._output.take(), responses[-1:]
        if len(self._claim.job.responses) == len(responses):
            last = []  # another attempt had them all
        if all(response.status >= 400 for response in responses):
            await self._queue.append(self._claim, text, last)
            await self._queue.fail(self._claim, self._reason(responses), retry=False)
        else:
            await self._queue.finish(self._claim, text, last)

    def _reason(self, responses: list[Response]) -> str:
        return self._refused or f"refused with {responses[-1].status}"

    async def _fail(self, reason: str, *, retry: bool) -> None:
        try:
            await self._queue.fail(self._claim, reason, retry=retry)
        except LeaseLost:
            return

    async def _release(self, pause: float, *, turns: int = 0) -> None:
        try:
            await self._queue.release(self._claim, pause=pause, turns=turns)
        except LeaseLost:
            return
