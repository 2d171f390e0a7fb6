"""`/runnerd/overview`: what `ps`, `top` and the page show of the present, as one document."""

from __future__ import annotations

import time

from aiohttp import web

import runnerd
from runnerd.access import Action
from runnerd.api.context import CONTEXT, json_response, models_of, timestamp
from runnerd.api.event_views import may
from runnerd.api.request_fields import requests_json, running_of
from runnerd.api.routing import Routes
from runnerd.api.visible_runners import as_seen, reports_of
from runnerd.api.visible_transfers import transfers_of
from runnerd.errors import RunnerdError
from runnerd.models.catalog import Catalog
from runnerd.observability.speeds import UNKNOWN, Speed
from runnerd.supervisor import DeviceReport, RunnerReport, WaitingReport

ROUTES = Routes()

_MOST_REQUESTS = 200  # that run or wait, how many are listed


@ROUTES.get("/runnerd/overview", Action.VIEW_RUNNERS)
async def overview(request: web.Request) -> web.Response:
    """Devices, runners, queue, running requests and transfers, as far as they are for who asks."""
    context = request.app[CONTEXT]
    host, seen = context.supervisor.host, context.observability
    running = running_of(request) if may(request, Action.VIEW_REQUESTS) else []
    under_way = (each.record for each in context.exchanges.running())
    speeds = seen.speeds.look(under_way, context.records.newest())
    reports, models = reports_of(request), models_of(request)
    waiting = [found for each in host.waiting() if (found := as_seen(request, each)) is not None]
    return json_response(
        {
            "version": runnerd.__version__,
            "now": timestamp(time.time()),
            "event_id": seen.events.last_id,
            "loop_lag_seconds": {"latest": seen.loop_lag.latest, "worst": seen.loop_lag.worst},
            "devices": [_device(device) for device in host.devices()],
            "runners": [
                _runner(report, speeds.get(report.id, UNKNOWN), models) for report in reports
            ],
            "tokens_per_second": _rounded(
                sum(_now(report, speeds.get(report.id, UNKNOWN)) for report in reports)
            ),
            "queue": {
                "waiting": sum(each.waiting for each in waiting),
                "models": [_waiting(each) for each in waiting],
            },
            "running": len(running),
            "requests": requests_json(request, (each.record for each in running[:_MOST_REQUESTS])),
            "transfers": [job.to_json() for job in transfers_of(request)],
        }
    )


def _now(report: RunnerReport, speed: Speed) -> float:
    """What a runner generates now: what its streams tell, else as much as lately if it works."""
    return (speed.shown if report.in_use else speed.now) or 0.0


def _rounded(speed: float | None) -> float | None:
    return None if speed is None else round(speed, 2)


def _runner(report: RunnerReport, speed: Speed, models: Catalog) -> dict[str, object]:
    """A runner, or a model that has failed and has none."""
    expires, retry, slots = report.expires_at, report.retry_at, report.slots
    return {
        "id": report.id or None,
        "model": report.model_ref,
        "models": _names(models, report),
        "backend": report.backend,
        "mode": report.mode.value,
        "state": report.state,
        "memory": _memory(report),
        "mapped": report.mapped,
        "user": report.user,
        "context": report.context or None,
        "slots": {
            "all": slots,
            "used": report.in_use if slots is None else min(slots, report.in_use),
        },
        "requests": report.in_use,
        "waiting": report.waiting,
        "tokens_per_second": _rounded(speed.shown),
        "load_seconds": report.ready_after,
        "keep_alive": report.keep_alive,
        "last_used": timestamp(report.last_used_at),
        "expires": None if expires is None else timestamp(expires),
        "pinned": report.pinned,
        "draining": report.draining,
        "failure": report.failure,
        "retry": None if retry is None else timestamp(retry),
    }


def _memory(report: RunnerReport) -> dict[str, dict[str, int | None]]:
    """By device, what is reserved for a runner and what it was seen to hold."""
    held = report.held
    return {
        device: {
            "reserved": report.reserved.get(device, 0),
            "held": None if held is None else held.get(device, 0),
        }
        for device in {**report.reserved, **(held or {})}
    }


def _names(models: Catalog, report: RunnerReport) -> list[str]:
    """What the models are called that a runner serves."""
    names = []
    for id in report.models:
        try:
            names.append(models.get(id).name)
        except RunnerdError:  # gone, or a backend's own
            names.append(report.model_ref)
    return names


def _device(device: DeviceReport) -> dict[str, object]:
    return {
        "id": device.id,
        "name": device.name,
        "total": device.total,
        "free": device.free,
        "limit": device.limit,
        "reserved": device.reserved,
        "held": device.held,
        "others": device.others,
    }


def _waiting(report: WaitingReport) -> dict[str, object]:
    return {"model": report.model_ref, "mode": report.mode, "waiting": report.waiting}
