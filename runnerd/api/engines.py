"""`/engines`: backends, runners and configurations, as Docker Model Runner's clients know them."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from runnerd import threads
from runnerd.access import Action, Principal
from runnerd.api.context import (
    CONTEXT,
    Context,
    json_body,
    json_response,
    models_of,
    principal_of,
    text_field,
    timestamp,
)
from runnerd.api.docker_errors import DOCKER
from runnerd.api.job_access import whose
from runnerd.api.model_ids import model_ids
from runnerd.api.routing import Routes
from runnerd.api.visible_runners import reports_of
from runnerd.errors import ClientError, NotSupported, RunnerdError
from runnerd.models.catalog import Catalog
from runnerd.outbound.client import package_session
from runnerd.scheduler import RunnerState
from runnerd.supervisor import RunnerReport
from runnerd.units import format_duration

ROUTES = Routes()

_NEVER = "0001-01-01T00:00:00Z"  # what Go clients expect for "no time": a runner in use


@ROUTES.get("/engines/status", Action.VIEW_RUNNERS, DOCKER)
async def status(request: web.Request) -> web.Response:
    """Every backend's state: `Running`, `Not Installed`, `Installing` or `Error`, with details."""
    backends = request.app[CONTEXT].backends
    return json_response({name: backend.status() for name, backend in backends.items()})


@ROUTES.get("/engines/ps", Action.VIEW_RUNNERS, DOCKER)
async def ps(request: web.Request) -> web.Response:
    """Every runner."""
    models = models_of(request)
    names = {str(model.id): model.name for model in models.models()}
    runners = []
    for report in reports_of(request):
        id, name = _model(models, report, names)
        also = [names[other] for other in report.models if other != id and other in names]
        runners.append(_runner(report) | {"model_name": name, "model_id": id, "also": also})
    return json_response(runners)


@ROUTES.get("/engines/df", Action.VIEW_RUNNERS, DOCKER)
async def df(request: web.Request) -> web.Response:
    """Disk usage, in bytes, and for owners the directory that it is of.

    Of models that were not granted nothing is told: who has a part of them is told their size.
    """
    context, principal = request.app[CONTEXT], principal_of(request)
    backend = context.supervisor.keys.backend(None)
    usage: dict[str, object] = {
        **await _models(context, principal, request),
        "default_backend_disk_usage": await backend.disk_usage(),
        "borrowed_disk_usage": _borrowed(context, principal, request),
    }
    if (jobs := await _jobs(context, whose(request))) is not None:
        usage["jobs_disk_usage"] = jobs
    if context.policy.sees_everything(principal):
        bare = context.llms.bare_files
        usage["bare_models_disk_usage"] = await threads.run(bare.taken_bytes)
        usage["state_dir"] = str(context.settings.state_dir)
    return json_response(usage)


async def _models(context: Context, principal: Principal, request: web.Request) -> dict[str, int]:
    """Bytes of models; of who may see all of them, also of what is no model yet, or no more."""
    store = context.store
    if context.policy.grants(principal) is not None:
        return {"models_disk_usage": sum(model.size_bytes for model in models_of(request).models())}
    return {
        "models_disk_usage": await threads.run(store.disk_usage),
        "unfinished_disk_usage": await threads.run(store.room.unfinished),
        "prunable_disk_usage": await threads.run(store.names.prunable_bytes),
    }


async def _jobs(context: Context, principal: str | None) -> dict[str, int] | None:
    """Bytes of the jobs of a principal, or of all, and the most of one user; None where nobody
    can tell.
    """
    try:
        taken = await context.jobs.queue.taken(principal=principal)
    except RunnerdError:  # the database, or the fleet's servers
        return None
    said = context.settings.jobs
    return {
        "prompts": taken.prompts,
        "results": taken.results,
        "most_prompts": said.bytes,
        "most_results": said.result_bytes,
    }


def _borrowed(context: Context, principal: Principal, request: web.Request) -> int:
    """Bytes of files that models use where their owners put them; they take none of the store."""
    if context.policy.grants(principal) is None:
        return context.store.borrowed_bytes()
    return sum(model.borrowed_bytes for model in models_of(request).models())


@ROUTES.post("/engines/unload", Action.UNLOAD_MODEL, DOCKER)
async def unload(request: web.Request) -> web.Response:
    """Stop idle runners: all of them, or those of some models.

    Those in use, or waited for while they load, stay; `force` ends them and their requests.
    """
    context = request.app[CONTEXT]
    document = await json_body(request)
    names = document.get("models") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ClientError("models must be a list of names", param="models")
    everything = document.get("all") is True
    if not names and not everything:
        raise ClientError("name the models to unload, or set all", param="models")
    backend = text_field(document, "backend")
    if backend is not None and backend not in context.backends:  # it runs nothing
        return json_response({"unloaded_runners": 0})
    unloaded = await context.supervisor.unloading.unload(
        backend=backend,
        models=_all(request) if everything else model_ids(request, names, backend),
        force=document.get("force") is True,
    )
    kept = {"runners_in_use": unloaded.in_use} if unloaded.in_use else {}
    return json_response({"unloaded_runners": unloaded.stopped} | kept)


@ROUTES.post("/engines/install-backend", Action.MANAGE_BACKENDS, DOCKER)
async def install_backend(request: web.Request) -> web.Response:
    """Install a backend; answers when it is done, `/engines/status` shows the progress."""
    context = request.app[CONTEXT]
    document = await json_body(request)
    backend = context.supervisor.keys.backend(text_field(document, "backend", required=True))
    async with package_session() as http:
        await backend.install(http)
    return web.Response()


@ROUTES.post("/engines/uninstall-backend", Action.MANAGE_BACKENDS, DOCKER)
async def uninstall_backend(request: web.Request) -> web.Response:
    """Say how an engine is removed: not over the API, since others may be using it."""
    context = request.app[CONTEXT]
    document = await json_body(request)
    backend = context.supervisor.keys.backend(text_field(document, "backend", required=True))
    folder = context.settings.state_dir / "engines"
    raise NotSupported(
        f"an engine of {backend.name} is not removed over the API: stop the daemon and remove its"
        f" folder below {folder}, or let the package manager that brought it do so"
    )


def _all(request: web.Request) -> set[str] | None:
    """The models that "all" are for who makes a request, by id; None: all there are."""
    context = request.app[CONTEXT]
    if context.policy.grants(principal_of(request)) is None:
        return None
    return {id for report in reports_of(request) for id in report.models}


def _model(models: Catalog, report: RunnerReport, names: Mapping[str, str]) -> tuple[str, str]:
    """Return id and name of the model that a runner is known by, of those that it serves.

    That is its first client's word for it, and another one once that name is gone or means another
    model.
    """
    try:
        id = str(models.get(report.model_ref).id)
    except ClientError:  # that name is gone
        id = ""
    if id in report.models:
        return id, report.model_ref
    return report.models[0], names.get(report.models[0], report.model_ref)


def _runner(report: RunnerReport) -> dict[str, object]:
    """Return a runner in DMR's words, with ours behind them."""
    return {
        "backend_name": report.backend,
        "engine": report.engine or None,
        "model_name": report.model_ref,
        "mode": report.mode.value,
        "last_used": _NEVER if report.in_use else timestamp(report.last_used_at),
        "in_use": report.in_use > 0,
        "loading": report.state is RunnerState.STARTING,
        "keep_alive": format_duration(report.keep_alive),
        "id": report.id,
        "state": report.state,
        "requests": report.in_use,
        "waiting": report.waiting,
        "expires_at": None if report.expires_at is None else timestamp(report.expires_at),
        "ready_after_seconds": report.ready_after,
        "socket": report.socket,
        "slots": report.slots,
        "context": report.context or None,
        "memory_reserved": dict(report.reserved),
        "memory_used": None if report.held is None else dict(report.held),
        "memory_mapped": report.mapped,
        "user": report.user,
        "pinned": report.pinned,
        "yields": report.draining,
        "failure": report.failure,
        "retry_at": None if report.retry_at is None else timestamp(report.retry_at),
    }
