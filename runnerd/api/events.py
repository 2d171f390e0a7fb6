"""`/runnerd/events`: what happens, as it happens, as server-sent events.

A stream begins with `hello`.  Who comes back with the id of the last event that it has seen is told
what has happened since; `missed` says that this is not all, and that what was read before is to be
read again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from aiohttp import web

import runnerd
from runnerd import sse
from runnerd.access import Action
from runnerd.api.context import CONTEXT, encode, principal_of
from runnerd.api.event_views import kinds_for, told
from runnerd.api.routing import Routes
from runnerd.errors import RunnerdError
from runnerd.observability.event_bus import HEARTBEAT, Event, EventBus, EventKind

ROUTES = Routes()

_MOST_REQUESTS = 20  # of those that end together, how many are told one by one
_RETRY = b"retry: 2000\n\n"  # milliseconds until a browser connects again


@ROUTES.get("/runnerd/events", Action.VIEW_RUNNERS)
async def events(request: web.Request) -> web.StreamResponse:
    """What happens from now on, or since the event that `Last-Event-ID` or `since` names.

    `kinds` names some, with commas: runner, request, transfer, approval, models.  It goes on until
    the client leaves, the daemon drains, or who asks may not see it any more.
    """
    bus = request.app[CONTEXT].observability.events
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    if request.method != "GET":
        return response
    since = request.headers.get("Last-Event-ID") or request.query.get("since")
    with bus.watched(principal_of(request).id) as watcher:
        known = bus.number_of(bus.last_id if since is None else since)
        await response.prepare(request)
        # Who comes back has not seen yet what it is about to be told: its place stays where it was.
        await response.write(_RETRY + _hello(bus, "" if since is not None else bus.last_id))
        if known is None:
            await response.write(sse.encoded(b"{}", "missed", bus.last_id))
            known = bus.number_of(bus.last_id) or 0
        written = 0.0
        while not bus.closed.is_set():
            news = bus.since(known, kinds_for(request))
            pieces = [sse.encoded(b"{}", "missed")] if news.missed else []
            try:
                pieces += _pieces(request, bus, news.events)
            except RunnerdError:  # the key is not valid any more
                break
            if news.events:
                known = news.events[-1].number
            now = time.monotonic()
            if pieces or now - written >= HEARTBEAT:
                written = now
                await response.write(b"".join(pieces) or sse.comment("nothing new"))
            # As regular as can be: of what is not to be seen nothing shows.
            await watcher.wait(max(0.0, written + HEARTBEAT - now))
        await response.write_eof()
        return response


def _hello(bus: EventBus, id: str) -> bytes:
    data = {"version": runnerd.__version__, "id": bus.last_id}
    return sse.encoded(encode(data), "hello", id)


def _pieces(request: web.Request, bus: EventBus, events: Iterable[Event]) -> list[bytes]:
    """Events for one write.  Of many requests the newest are told, and how many were not."""
    seen = [(event, fields) for event in events if (fields := told(request, event)) is not None]
    requests = [event.number for event, _ in seen if event.kind is EventKind.REQUEST]
    skipped = len(requests) - _MOST_REQUESTS
    first = requests[skipped] if skipped > 0 else 0
    pieces = [
        sse.encoded(encode(fields), event.kind, bus.id_of(event.number))
        for event, fields in seen
        if event.kind is not EventKind.REQUEST or event.number >= first
    ]
    if skipped > 0:
        pieces.append(sse.encoded(encode({"requests": skipped}), "skipped"))
    return pieces
