"""`GET /` as lllms answers it: the pool of instances and the store of models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from runnerd.api.context import timestamp
from runnerd.backends.interface import BackendMode
from runnerd.configurations import ConfigurationKey, ModelConfiguration
from runnerd.models.catalog import Model
from runnerd.supervisor import RunnerReport
from runnerd.supervisor.reports import FAILED

_NEVER = "1970-01-01T00:00:00.000Z"
_DEFAULT = ModelConfiguration()


def pool_status(
    reports: Iterable[RunnerReport],
    models: Iterable[Model],
    configurations: Mapping[ConfigurationKey, ModelConfiguration],
    *,
    backend: str,
    queued: int,
) -> dict[str, object]:
    """Return the status document; `backend` is the one that runs what names none."""
    reports = list(reports)
    return {
        "pool": {
            "processing": sum(report.in_use > 0 for report in reports),
            "pending": queued,
            "instances": {
                f"{report.model_ref}:{report.id}": _instance(report)
                for report in reports
                if report.state != FAILED
            },
        },
        "store": {
            (model.tags or (str(model.id),))[0]: _model(model, reports, configurations, backend)
            for model in models
        },
    }


def _instance(report: RunnerReport) -> dict[str, object]:
    status = "loading" if report.state == "starting" else "busy" if report.in_use else "idle"
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
    own = [report for report in reports if report.model == str(model.id)]
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


def _status(states: set[str]) -> str:
    if "ready" in states:
        return "ready"
    if "starting" in states:
        return "preparing"
    return "error" if FAILED in states else "unloaded"
