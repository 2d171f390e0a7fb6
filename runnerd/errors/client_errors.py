"""What the client can do otherwise (4xx): ask for something else, as somebody else, or later."""

from __future__ import annotations

from runnerd.errors.base import RunnerdError


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


class ContextExceeded(ClientError):
    code = "context_length_exceeded"


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
