"""What a head begins: a request with its route and its asker, or with what it is refused for.

All of it comes before anything of the request's body is taken.
"""

from __future__ import annotations

from runnerd.errors import PayloadTooLarge, RunnerdError
from runnerd.limit_settings import Limits
from runnerd.relay.authentication import identify
from runnerd.relay.dispatcher_hosts import Connection, RelayHost
from runnerd.relay.head_validation import check_inference, check_request, request_of
from runnerd.relay.http_reader import Head
from runnerd.relay.pipelined_request import PipelinedRequest
from runnerd.relay.request_head_cache import RequestHeadCache


class HeadAcceptance:
    """Accepts the heads of a connection's requests, and has those remembered that pass."""

    def __init__(
        self, relay: RelayHost, connection: Connection, known: RequestHeadCache, *, unix: bool
    ) -> None:
        self._relay = relay
        self._connection = connection
        self._known = known
        self._unix = unix

    def accept(self, head: Head) -> PipelinedRequest:
        """The request that a head begins; with its error, where it is to be refused."""
        relay, unix = self._relay, self._unix
        request = request_of(head, unix=unix)
        entry = PipelinedRequest(request, None)
        try:
            check_request(request, relay.limits, relay.admission, unix=unix)
            if request.method == "POST":
                entry.route = relay.route(request.path)
            identify(request, relay.authenticate)
            if entry.route is not None:
                request.error_format = entry.route.error_format
                request.read_labels()
                principal = request.principal(self._connection.principal)
                relay.authorize(request, entry.route, principal)
                check_inference(request, entry.route, unix=unix)
                if (request.length or 0) > relay.limits.body_bytes:
                    raise too_large(relay.limits)
                if head.whole is not None:
                    self._known.remember(head.whole, request, entry.route)
        except RunnerdError as error:
            entry.error = error.with_traceback(None)  # it would refer to this entry
        return entry


def too_large(limits: Limits) -> RunnerdError:
    """The refusal of a body that is larger than any may be."""
    return PayloadTooLarge(f"the request body exceeds {limits.body_bytes} bytes")
