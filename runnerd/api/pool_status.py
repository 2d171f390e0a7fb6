"""`GET /` as lllms answers it: the pool of instances and the store of models."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from runnerd.api.context import timestamp
from runnerd.backends.configuration import BackendMode
from runnerd.configurations import ConfigurationKey, ModelConfiguration
from runnerd.models.intake import Progress
from runnerd.models.model import Model
from runnerd.pulls.transfer_tasks import TransferTask
from runnerd.scheduler import RunnerState
from runnerd.supervisor import RunnerReport
from runnerd.units import binary_size, format_duration

_NEVER = "1970-01-01T00:00:00.000Z"
_DEFAULT = ModelConfiguration()


def pool_status(
    reports: Iterable[RunnerReport],
    models: Iterable[Model],
    configurations: Mapping[ConfigurationKey, ModelConfiguration],
    *,
    downloads: Iterable[TransferTask],
    backend: str,
    queued: int,
) -> dict[str, object]:
    """Return the status document; `backend` is the one that runs what names none."""
    reports = list(reports)
    now = time.time()
    return {
        "pool": {
            "processing": sum(report.in_use > 0 for report in reports),
            "pending": queued,
            "instances": {
                f"{report.model_ref}:{report.id}": _instance(report)
                for report in reports
                if report.state is not RunnerState.FAILED
            },
        },
        "store": {model.name: _model(model, reports, configurations, backend) for model in models}
        | {job.reference: _coming(job, backend, now) for job in downloads if job.kind == "pull"},
    }


def _instance(report: RunnerReport) -> dict[str, object]:
    status = (
        "loading" if report.state is RunnerState.STARTING else "busy" if report.in_use else "idle"
    )
    return {
        "model": report.model_ref,
        "status": status,
        "engine": report.backend,
        "device": _device(report),
        "lastUsed": timestamp(report.last_used_at) if report.ready_after is not None else _NEVER,
    }


def _device(report: RunnerReport) -> str:
    return "gpu" if any(name.startswith("gpu") for name in report.reserved) else "cpu"


def _model(
    model: Model,
    reports: Iterable[RunnerReport],
    configurations: Mapping[ConfigurationKey, ModelConfiguration],
    backend: str,
) -> dict[str, object]:
    own = [report for report in reports if str(model.id) in report.models]
    key = ConfigurationKey(backend, str(model.id), BackendMode.COMPLETION)
    configuration = configurations.get(key, _DEFAULT)
    states = {report.state for report in own}
    return {
        "engine": backend,
        "device": next(map(_device, own), "auto"),
        "minInstances": configuration.min_instances,
        "maxInstances": configuration.max_instances,
        "status": _status(states),
    }


def _coming(job: TransferTask, backend: str, now: float) -> dict[str, object]:
    return {
        "engine": backend,
        "device": "auto",
        "minInstances": _DEFAULT.min_instances,
        "maxInstances": _DEFAULT.max_instances,
        "status": "preparing",
        "downloads": [_download(file, now - job.began_at) for file in job.files()],
    }


def _download(file: Progress, seconds: float) -> dict[str, object]:
    """Return one file's progress; `speed` is its mean since the pull began, in bytes a second."""
    speed = file.layer_current / seconds if seconds > 0 else 0.0
    left = (file.layer_size - file.layer_current) / speed if speed else 0.0
    return {
        "file": file.layer,
        "loadedBytes": file.layer_current,
        "formattedLoadedBytes": binary_size(file.layer_current),
        "totalBytes": file.layer_size,
        "formattedTotalBytes": binary_size(file.layer_size),
        "percent": round(file.layer_current / file.layer_size, 2) if file.layer_size else 0,
        "speed": round(speed),
        "etaSeconds": round(left, 1),
        "formattedEta": format_duration(left),
    }


def _status(states: set[RunnerState]) -> str:
    if RunnerState.READY in states:
        return "ready"
    if RunnerState.STARTING in states:
        return "preparing"
    return "error" if RunnerState.FAILED in states else "unloaded"
