"""Every failure that crosses a room's border, in one tree.

Each class knows its HTTP status and a machine-readable code; `body()` is the one place that turns
an error into OpenAI's JSON shape (other dialects add their own function beside it).  Messages are
written for the person who reads them: what is wrong and what to do.  They never carry a prompt or
a secret.

    RunnerdError
    ├── ClientError (400)        the request itself is wrong
    │   ├── InvalidReference         not a model reference
    │   ├── InvalidConfiguration     a setting or flag that is not allowed
    │   ├── SourceDenied (401)       a registry or hub wants (other) credentials
    │   ├── Unauthorized (401)       no credential, or none that counts
    │   ├── Forbidden (403)          host or origin not allowed
    │   │   └── PermissionMissing        the principal lacks a permission, which is named
    │   ├── NotFound (404)           ModelNotFound, BackendNotFound, RunnerNotFound, RouteNotFound,
    │   │                            UserNotFound, KeyNotFound, ApprovalNotFound, JobNotFound,
    │   │                            SessionNotFound, ConversationNotFound
    │   ├── MethodNotAllowed (405)
    │   ├── RequestTimeout (408)     the client was too slow
    │   ├── Conflict (409)           several tags, runner busy
    │   │   ├── LeaseLost                a job is not this worker's any more
    │   │   └── RequestCancelled         somebody has ended the request while it ran
    │   ├── PayloadTooLarge (413)
    │   ├── UnsupportedMediaType (415)
    │   ├── ExpectationFailed (417)
    │   ├── MisdirectedRequest (421) a runner was asked for a model that it does not serve
    │   ├── InvalidModelFile (422)   a GGUF that cannot be used
    │   ├── UnprocessableBody (422)  JSON of another shape than the route takes (Pantry's)
    │   ├── HarmfulRequest (422)     a request that has ended engines
    │   └── HeadersTooLarge (431)
    ├── Overloaded (429)         come back later; carries Retry-After
    │   └── LimitReached             a user's own limit, which is named
    ├── InternalError (500)      always a bug
    ├── PantryFailure (500)      what Pantry's clients know as the server's failure
    ├── NotSupported (501)       the engine lacks it; the message names the remedy
    ├── BackendFailure (502)     the engine failed; carries its last words
    │   └── HostExhausted            no descriptor, process or memory for it at this moment
    ├── SourceFailure (502)      a registry or hub failed or sent what it should not
    │   └── SourceBusy               it may do better in a moment
    ├── Displaced (503)          a job made room for somebody who waits
    ├── Draining (503)           the daemon is going away (never used for overload)
    ├── DatabaseFailure (503)    the database cannot be used
    │   └── DatabaseLocked           at this moment: another program holds it
    ├── UpstreamTimeout (504)    the engine made no progress
    ├── SourceTimeout (504)      a registry or hub made no progress
    ├── InsufficientStorage (507) no room, on a disk or in memory
    ├── StorageFailure (507)     a disk that cannot be written; nothing has changed
    │   ├── ResultsFull              the results of a user's jobs take all the space they may
    │   ├── Unconfirmed              the change is in force, but may not survive a power cut
    │   └── Undetermined             whether the change is in force is not known
    └── StartupError             the daemon cannot start; ends the process with this message
"""

from __future__ import annotations

from typing import ClassVar


class RunnerdError(Exception):
    """Base of the tree.  `retry_after` is in seconds; `should_retry` False tells SDKs not to
    repeat.
    """

    status: int = 500
    code: ClassVar[str] = "internal_error"
    type: ClassVar[str] = "server_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after
        self.should_retry = should_retry

    def body(self) -> dict[str, dict[str, object]]:
        """OpenAI's error document; routes of other APIs tell it otherwise (`ErrorFormat`)."""
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }

    def headers(self) -> dict[str, str]:
        """Return the response headers that belong to this error (Retry-After, x-should-retry)."""
        headers: dict[str, str] = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, round(self.retry_after)))
        if self.should_retry is not None:
            # Read by OpenAI's and Anthropic's SDKs before their own rule for the status.
            headers["x-should-retry"] = "true" if self.should_retry else "false"
        return headers


class ClientError(RunnerdError):
    status = 400
    code = "invalid_request"
    type = "invalid_request_error"


class InvalidReference(ClientError):
    code = "invalid_model_reference"


class InvalidConfiguration(ClientError):
    code = "invalid_configuration"


class SourceDenied(ClientError):
    status = 401
    code = "source_denied"


_CHALLENGES = 'Bearer realm="runnerd", Basic realm="runnerd", charset="UTF-8"'


class Unauthorized(ClientError):
    status = 401
    code = "unauthorized"
    type = "authentication_error"

    def headers(self) -> dict[str, str]:
        return super().headers() | {"WWW-Authenticate": _CHALLENGES}


class Forbidden(ClientError):
    status = 403
    code = "forbidden"


class PermissionMissing(Forbidden):
    """`permission` is the name of the one that is missing."""

    code = "permission_missing"

    def __init__(self, message: str, *, permission: str) -> None:
        super().__init__(message)
        self.permission = permission


class NotFound(ClientError):
    status = 404
    code = "not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"


class ResponseNotFound(NotFound):
    code = "response_not_found"


class BackendNotFound(NotFound):
    code = "backend_not_found"


class RunnerNotFound(NotFound):
    code = "runner_not_found"


class RouteNotFound(NotFound):
    code = "route_not_found"


class UserNotFound(NotFound):
    code = "user_not_found"


class KeyNotFound(NotFound):
    code = "key_not_found"


class ApprovalNotFound(NotFound):
    code = "approval_not_found"


class ConversationNotFound(NotFound):
    code = "conversation_not_found"


class JobNotFound(NotFound):
    code = "job_not_found"


class SessionNotFound(NotFound):
    code = "session_not_found"


class MethodNotAllowed(ClientError):
    """`allow` is the value of the Allow header."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, message: str, *, allow: str) -> None:
        super().__init__(message)
        self.allow = allow

    def headers(self) -> dict[str, str]:
        return super().headers() | {"Allow": self.allow}


class RequestTimeout(ClientError):
    status = 408
    code = "request_timeout"


class Conflict(ClientError):
    status = 409
    code = "conflict"


class LeaseLost(Conflict):
    code = "lease_lost"


class RequestCancelled(Conflict):
    code = "request_cancelled"

    def __init__(self, message: str) -> None:
        super().__init__(message, should_retry=False)


class PayloadTooLarge(ClientError):
    status = 413
    code = "request_too_large"


class UnsupportedMediaType(ClientError):
    status = 415
    code = "unsupported_media_type"


class ExpectationFailed(ClientError):
    status = 417
    code = "expectation_failed"


class MisdirectedRequest(ClientError):
    status = 421
    code = "model_mismatch"


class InvalidModelFile(ClientError):
    status = 422
    code = "invalid_model_file"


class UnprocessableBody(ClientError):
    status = 422
    code = "unprocessable_body"


class HarmfulRequest(ClientError):
    status = 422
    code = "harmful_request"


class HeadersTooLarge(ClientError):
    status = 431
    code = "headers_too_large"


class Overloaded(RunnerdError):
    status = 429
    code = "overloaded"
    type = "rate_limit_error"


_SOON = 120.0  # seconds; an SDK that repeats a request by itself waits no longer than that


class LimitReached(Overloaded):
    """`limit` is the name of the user's limit that was reached."""

    code = "limit_reached"

    def __init__(self, message: str, *, limit: str, retry_after: float | None = None) -> None:
        soon = retry_after is not None and retry_after <= _SOON
        super().__init__(message, retry_after=retry_after, should_retry=None if soon else False)
        self.limit = limit


class InternalError(RunnerdError):
    """A mistake of the daemon's own; its details are for the log, not for clients."""

    def __init__(self, message: str = "internal error; the daemon's log has more") -> None:
        super().__init__(message)


class PantryFailure(RunnerdError):
    code = "pantry_failure"


class NotSupported(RunnerdError):
    status = 501
    code = "not_supported"


class BackendFailure(RunnerdError):
    status = 502
    code = "backend_failure"


class ModelDeleted(BackendFailure):
    """A runner ended because its model was deleted meanwhile: no fault of engine or model."""

    status = 404
    code = "model_not_found"


class HostExhausted(BackendFailure):
    code = "host_exhausted"


class SourceFailure(RunnerdError):
    status = 502
    code = "source_failure"


class SourceBusy(SourceFailure):
    """It answers, and may do better in a moment; `retry_after` is when it wants to be asked."""

    code = "source_busy"


class Draining(RunnerdError):
    status = 503
    code = "draining"


class Displaced(RunnerdError):
    status = 503
    code = "displaced"


class DatabaseFailure(RunnerdError):
    """Its disk is fine or not known to be otherwise; that one is full or broken is told as such."""

    status = 503
    code = "database_failure"


class DatabaseLocked(DatabaseFailure):
    code = "database_locked"


class UpstreamTimeout(RunnerdError):
    status = 504
    code = "upstream_timeout"


class SourceTimeout(RunnerdError):
    status = 504
    code = "source_timeout"


class InsufficientStorage(RunnerdError):
    status = 507
    code = "insufficient_storage"


class StorageFailure(RunnerdError):
    status = 507
    code = "storage_failure"


class ResultsFull(StorageFailure):
    """A user's jobs have as much output and responses as they may have."""

    code = "results_full"


class Unconfirmed(StorageFailure):
    code = "storage_unconfirmed"


class Undetermined(StorageFailure):
    code = "storage_undetermined"


class StartupError(RunnerdError):
    code = "startup_failed"
