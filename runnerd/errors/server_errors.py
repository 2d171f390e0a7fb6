"""What is not the client's to change (5xx): the daemon, an engine, another host, a disk, memory."""

from __future__ import annotations

from runnerd.errors.base import RunnerdError


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
