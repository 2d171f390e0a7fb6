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
    │   ├── ContextExceeded          a text that is longer than the model's context
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

from runnerd.errors.base import RunnerdError
from runnerd.errors.client_errors import (
    ApprovalNotFound,
    BackendNotFound,
    ClientError,
    Conflict,
    ContextExceeded,
    ConversationNotFound,
    ExpectationFailed,
    Forbidden,
    HarmfulRequest,
    HeadersTooLarge,
    InvalidConfiguration,
    InvalidModelFile,
    InvalidReference,
    JobNotFound,
    KeyNotFound,
    LeaseLost,
    LimitReached,
    MethodNotAllowed,
    MisdirectedRequest,
    ModelNotFound,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    PermissionMissing,
    RequestCancelled,
    RequestTimeout,
    ResponseNotFound,
    RouteNotFound,
    RunnerNotFound,
    SessionNotFound,
    SourceDenied,
    Unauthorized,
    UnprocessableBody,
    UnsupportedMediaType,
    UserNotFound,
)
from runnerd.errors.server_errors import (
    BackendFailure,
    DatabaseFailure,
    DatabaseLocked,
    Displaced,
    Draining,
    HostExhausted,
    InsufficientStorage,
    InternalError,
    ModelDeleted,
    NotSupported,
    PantryFailure,
    ResultsFull,
    SourceBusy,
    SourceFailure,
    SourceTimeout,
    StartupError,
    StorageFailure,
    Unconfirmed,
    Undetermined,
    UpstreamTimeout,
)

__all__ = [
    "ApprovalNotFound",
    "BackendFailure",
    "BackendNotFound",
    "ClientError",
    "Conflict",
    "ContextExceeded",
    "ConversationNotFound",
    "DatabaseFailure",
    "DatabaseLocked",
    "Displaced",
    "Draining",
    "ExpectationFailed",
    "Forbidden",
    "HarmfulRequest",
    "HeadersTooLarge",
    "HostExhausted",
    "InsufficientStorage",
    "InternalError",
    "InvalidConfiguration",
    "InvalidModelFile",
    "InvalidReference",
    "JobNotFound",
    "KeyNotFound",
    "LeaseLost",
    "LimitReached",
    "MethodNotAllowed",
    "MisdirectedRequest",
    "ModelDeleted",
    "ModelNotFound",
    "NotFound",
    "NotSupported",
    "Overloaded",
    "PantryFailure",
    "PayloadTooLarge",
    "PermissionMissing",
    "RequestCancelled",
    "RequestTimeout",
    "ResponseNotFound",
    "ResultsFull",
    "RouteNotFound",
    "RunnerNotFound",
    "RunnerdError",
    "SessionNotFound",
    "SourceBusy",
    "SourceDenied",
    "SourceFailure",
    "SourceTimeout",
    "StartupError",
    "StorageFailure",
    "Unauthorized",
    "Unconfirmed",
    "Undetermined",
    "UnprocessableBody",
    "UnsupportedMediaType",
    "UpstreamTimeout",
    "UserNotFound",
]
