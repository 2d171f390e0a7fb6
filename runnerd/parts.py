"""The daemon's parts, built from the settings and given to each other.

Nothing else constructs collaborators.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from runnerd import early, sessions
from runnerd.access import Principal, Rules
from runnerd.accounts.accounts import Accounts
from runnerd.accounts.users import Change
from runnerd.api import figures
from runnerd.api.admin.approval_work import ApprovalWork
from runnerd.api.admin.approved_actions import ApprovedActions
from runnerd.api.anthropic import dialect as anthropic
from runnerd.api.app import make_app
from runnerd.api.context import Context
from runnerd.api.ollama import dialects
from runnerd.api.openai import responses, transcriptions
from runnerd.api.protollm.opening import open_desk
from runnerd.backends.interface import Backend, BackendContext
from runnerd.backends.registry import discover
from runnerd.config import Settings
from runnerd.configurations import Configurations
from runnerd.jobs.service import Jobs
from runnerd.jobs.submission_rules import SubmissionRules
from runnerd.llms.parts import build as build_llms
from runnerd.models.model_folders import ModelFolders
from runnerd.models.outlines import Outlines
from runnerd.models.store import Store
from runnerd.observability.event_bus import EventKind
from runnerd.observability.observability import Observability
from runnerd.observability.trace_context import trace_context
from runnerd.observability.traces import open_traces
from runnerd.pulls.outlining import Outlining
from runnerd.pulls.pulling import Pulls
from runnerd.pulls.settings import make_outbound, pull_settings
from runnerd.relay import listening
from runnerd.relay.engine_admission import EngineAdmission
from runnerd.relay.exchanges import ExchangeDependencies, Exchanges
from runnerd.relay.named_models import NamedModels
from runnerd.relay.operations import ENGINE_ROUTES
from runnerd.relay.peers import Peers
from runnerd.relay.pending_models import PendingModels
from runnerd.relay.planner import Planner
from runnerd.relay.records import Records, RequestRecord
from runnerd.relay.service import Relay, RelayDependencies
from runnerd.relay.visible_models import VisibleModels
from runnerd.resources import Host
from runnerd.saved_slots import SavedSlots
from runnerd.sockets.paths import RuntimeDirectory
from runnerd.sockets.tls import ServerCertificate
from runnerd.supervisor import Supervisor
from runnerd.supervisor.drafts import Drafts


@dataclass(frozen=True, slots=True)
class Parts:
    """Those that the daemon itself still has something to do with."""

    policy: Rules
    accounts: Accounts
    approvals: ApprovalWork
    backends: Mapping[str, Backend]
    supervisor: Supervisor
    pulls: Pulls
    records: Records
    relay: Relay
    observability: Observability
    jobs: Jobs
    model_folders: ModelFolders


async def build(
    stack: AsyncExitStack,
    settings: Settings,
    state_dir: Path,
    directory: RuntimeDirectory,
    peers: Peers,
    certificate: ServerCertificate | None,
) -> Parts:
    """Build and open everything but the listeners; `stack` closes it in the opposite order.

    Raises errors.StartupError, early.Stopped.
    """
    policy = Rules(time.time)
    log_dir = state_dir / "logs"
    store = Store(state_dir / "models", quota_bytes=settings.store_quota or None)
    store.open()
    early.check()

    def name_of(id: str) -> str:
        return store.get(id).name

    accounts = Accounts(state_dir, name_of)
    await accounts.open()
    stack.push_async_callback(accounts.close)
    policy.adopt(accounts.users.directory)
    early.check()
    configurations = Configurations(state_dir / "configurations.json", store.id_of)
    configurations.open()
    slots = SavedSlots(state_dir / "slots", settings.slot_quota)
    slots.open()
    admit = EngineAdmission(store, policy, peers.of_uid)
    outlines = Outlines(store, state_dir / "outlines")
    backends = _discover(settings, outlines, state_dir, slots, admit)
    host = Host()
    supervisor = Supervisor(
        settings,
        backends,
        configurations,
        directory,
        host=host,
        name_of=name_of,
        load_of=store.load_of,
        loaded_as=store.loaded_as,
        slots=slots,
    )
    stack.push_async_callback(supervisor.close)

    drafts = Drafts(
        supervisor.configuring,
        configurations,
        supervisor.keys,
        store.resolve,
        store.id_of,
        policy,
    )
    outbound = make_outbound(settings)
    stack.push_async_callback(outbound.close)
    pulls = Pulls(
        store,
        outbound,
        lambda: pull_settings(settings),
        host=host,
        logins=accounts.logins.find,
        drafting=drafts,
    )
    stack.push_async_callback(pulls.close)

    records = Records()
    traces = await open_traces(
        settings.traces, server=listening.address_of_server(settings), name_of=name_of
    )
    if traces is not None:
        stack.push_async_callback(traces.close)
    observability = Observability(
        supervisor,
        name_of=name_of,
        running=lambda: exchanges.count_running(),
        traces=traces,
    )
    events = observability.events
    pulls.changed = observability.transfer_changed
    accounts.approvals.subscribe(lambda approval: events.publish(EventKind.APPROVAL, approval))
    store.tell_of_changes(observability.from_threads(EventKind.MODELS))

    def ended(principal: Principal, record: RequestRecord) -> None:
        accounts.usage.ended(principal.id, record)
        observability.request_ended(principal, record)

    llms = await build_llms(stack, state_dir, store, pulls, accounts.database, settings)

    kept = sessions.build_kept(accounts.database, settings)
    other_apis = {
        **anthropic.routes(),
        **dialects.routes(),
        **responses.routes(kept.responses),
        **transcriptions.routes(),
    }
    visible = VisibleModels(store, policy)
    exchanges = Exchanges(
        ExchangeDependencies(
            limits=settings.limits,
            planner=Planner(supervisor.keys, settings.limits),
            named_models=NamedModels(visible, supervisor.keys),
            supervisor=supervisor,
            records=records,
            policy=policy,
            images_dir=state_dir / "images",
            dialects=other_apis,
            pending_models=PendingModels(
                pulls, settings, began=lambda who, what: accounts.audit_pull(who.id, what)
            ),
            captures=partial(getattr, settings, "capture_requests"),
            ended=ended,
            trace_of=None if traces is None else trace_context,
        )
    )
    supervisor.tell_of_losses(exchanges.runner_lost)
    exchanges.accounts.spent(await accounts.usage.tokens_of_today())
    talks = sessions.build(kept, exchanges, visible, policy, supervisor.session_states)
    talks.open()
    stack.push_async_callback(talks.close)
    actions = ApprovedActions(store, policy, pulls, supervisor, exchanges, llms.downloads)
    approvals = ApprovalWork(accounts, actions.by_kind())
    stack.push_async_callback(approvals.close)

    rules = SubmissionRules(settings, policy, visible, supervisor.keys)
    jobs = Jobs(
        accounts.database,
        exchanges,
        settings,
        state_dir,
        rules.model_asked,
        supervisor.job_gate,
        rules.most_priority,
    )
    prompts = open_desk(settings.protollm, jobs.queue)
    stack.push_async_callback(prompts.close)
    observability.metrics.sources += (
        lambda: figures.jobs(jobs.queue),
        lambda: figures.sessions(kept.sessions),
    )
    context = Context(
        settings,
        store,
        backends,
        supervisor,
        records,
        log_dir,
        pulls,
        kept.responses,
        kept.conversations,
        policy,
        exchanges,
        accounts,
        approvals,
        observability,
        talks,
        jobs,
        llms,
        prompts,
        Outlining(pulls, outlines),
        drafts,
    )
    relay = Relay(
        RelayDependencies(
            limits=settings.limits,
            admission=listening.make_admission(settings),
            exchanges=exchanges,
            app=make_app(context, other_apis),
            authenticate=policy.authenticate,
            peers=peers,
            certificate=certificate,
        )
    )
    stack.push_async_callback(relay.close)
    stack.push_async_callback(jobs.close)  # before the relay: its exchanges are that one's

    def adopt(change: Change) -> None:
        """Go by other users and keys, also in what is under way."""
        policy.adopt(change.directory)
        relay.users_changed()

    accounts.users.subscribe(adopt)
    policy.adopt(accounts.users.directory)  # it may have changed since it was first adopted
    return Parts(
        policy,
        accounts,
        approvals,
        backends,
        supervisor,
        pulls,
        records,
        relay,
        observability,
        jobs,
        ModelFolders(store, lambda: settings.model_dirs, state_dir / "model_dirs.json"),
    )


def _discover(
    settings: Settings,
    outlines: Outlines,
    state_dir: Path,
    slots: SavedSlots,
    admit: EngineAdmission,
) -> dict[str, Backend]:
    def context_for(name: str) -> BackendContext:
        return BackendContext(
            resolver=outlines,
            state_dir=state_dir / "engines",
            log_dir=state_dir / "logs" / "engines",
            settings=dict(settings.backends.get(name, {})),
            slots_dir=slots.folder if slots.enabled else None,
            routes=ENGINE_ROUTES,
            admit=admit,
        )

    return discover(context_for)
