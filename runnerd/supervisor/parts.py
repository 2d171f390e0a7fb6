"""The supervisor's parts, built and given to each other; who carries out which decision."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from runnerd.backends.interface import Backend
from runnerd.config import Settings
from runnerd.configurations import Configurations
from runnerd.saved_slots import SavedSlots
from runnerd.scheduler import Decision, Grant, Refuse, Scheduler, Start, Stop
from runnerd.sockets.paths import RuntimeDirectory
from runnerd.supervisor.actions import Actions
from runnerd.supervisor.changes import Changes
from runnerd.supervisor.claims import Claims
from runnerd.supervisor.configuration_checks import ConfigurationChecks
from runnerd.supervisor.configuring import Configuring
from runnerd.supervisor.context_variants import ContextVariants
from runnerd.supervisor.fitting import Fitting
from runnerd.supervisor.fleet import Fleet
from runnerd.supervisor.host_reports import HostReports
from runnerd.supervisor.keys import Keys
from runnerd.supervisor.launch_specs import LaunchSpecs
from runnerd.supervisor.limits import scheduler_limits
from runnerd.supervisor.memory import HostMemory, MemoryAccounts
from runnerd.supervisor.preparation import Preparation
from runnerd.supervisor.refusals import Refusals
from runnerd.supervisor.removing import Removing
from runnerd.supervisor.reports import Reports
from runnerd.supervisor.running import Running
from runnerd.supervisor.session_states import SessionStates
from runnerd.supervisor.sharing import Sharing
from runnerd.supervisor.slot_persistence import SlotPersistence
from runnerd.supervisor.unloading import Unloading
from runnerd.supervisor.watching import MemoryWatch


class ModelNames(NamedTuple):
    """What the store knows of a model by its id.

    `name_of`: what to call one that nobody has asked for by name; `load_of`: what its engine is
    started with; `loaded_as`: which models have a load in common.
    """

    name_of: Callable[[str], str]
    load_of: Callable[[str], str]
    loaded_as: Callable[[str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class SupervisorParts:
    """Those that the supervisor itself asks, or shows to others."""

    scheduler: Scheduler
    actions: Actions
    fleet: Fleet
    slot_persistence: SlotPersistence
    session_states: SessionStates
    preparation: Preparation
    reports: Reports
    host: HostReports
    changes: Changes
    fitting: Fitting
    claims: Claims
    watch: MemoryWatch
    keys: Keys
    unloading: Unloading
    configuring: Configuring
    removing: Removing


def build_parts(
    settings: Settings,
    backends: Mapping[str, Backend],
    configurations: Configurations,
    directory: RuntimeDirectory,
    *,
    host: HostMemory | None,
    names: ModelNames,
    slots: SavedSlots | None,
) -> SupervisorParts:
    """Build everything below the supervisor; nothing is started.

    `slots` is where runners leave what they had evaluated.
    """

    def act(decision: Decision) -> None:
        match decision:
            case Grant():
                claims.granted(decision)
            case Refuse():
                claims.refused(decision)
            case Start():
                running.start(decision)
            case Stop():
                running.stop(decision)

    scheduler = Scheduler(scheduler_limits(settings))
    actions = Actions(scheduler, act)
    fleet = Fleet(backends, directory)
    slot_persistence = SlotPersistence(settings, slots)
    session_states = SessionStates(
        settings, slots, slot_persistence.fingerprint, slot_persistence.memory
    )
    memory = MemoryAccounts(settings, backends, host)
    external = {name for name, each in backends.items() if each.uses_external_model_management}
    sharing = Sharing(
        settings,
        configurations,
        load_of=names.load_of,
        loaded_as=names.loaded_as,
        external=external,
    )
    variants = ContextVariants(settings, backends, sharing, scheduler)
    launch_specs = LaunchSpecs(
        lambda key: key.model if key.backend in external else names.name_of(sharing.models(key)[0]),
        variants.configuration,
    )
    checks = ConfigurationChecks(backends, memory)
    preparation = Preparation(
        scheduler,
        backends,
        sharing,
        memory=memory,
        launch_specs=launch_specs,
        fleet=fleet,
        checks=checks,
    )
    reports = Reports(
        scheduler, fleet, sharing=sharing, variants=variants, launch_specs=launch_specs
    )
    host_reports = HostReports(
        scheduler,
        sharing=sharing,
        launch_specs=launch_specs,
        memory=memory,
        preparation=preparation,
    )
    changes = Changes(sharing, launch_specs)
    fitting = Fitting(
        scheduler,
        memory=memory,
        fleet=fleet,
        preparation=preparation,
    )
    claims = Claims(
        scheduler,
        actions,
        fleet,
        slot_persistence=slot_persistence,
        refusals=Refusals(scheduler, reports, preparation=preparation, variants=variants),
    )
    watch = MemoryWatch(scheduler, actions, memory=memory, fleet=fleet, preparation=preparation)
    running = Running(
        scheduler,
        actions,
        settings,
        fleet=fleet,
        claims=claims,
        sharing=sharing,
        launch_specs=launch_specs,
        preparation=preparation,
        slot_persistence=slot_persistence,
        session_states=session_states,
        watch=watch,
        changes=changes,
    )
    keys = Keys(settings, backends, configurations, sharing=sharing, variants=variants, fleet=fleet)
    unloading = Unloading(scheduler, actions, fleet=fleet, claims=claims, sharing=sharing)
    configuring = Configuring(
        scheduler,
        actions,
        configurations,
        keys=keys,
        claims=claims,
        sharing=sharing,
        launch_specs=launch_specs,
        checks=checks,
        preparation=preparation,
        unloading=unloading,
    )
    removing = Removing(
        scheduler,
        configurations,
        fleet=fleet,
        running=running,
        sharing=sharing,
        variants=variants,
        launch_specs=launch_specs,
        memory=memory,
        slot_persistence=slot_persistence,
        configuring=configuring,
    )

    return SupervisorParts(
        scheduler=scheduler,
        actions=actions,
        fleet=fleet,
        slot_persistence=slot_persistence,
        session_states=session_states,
        preparation=preparation,
        reports=reports,
        host=host_reports,
        changes=changes,
        fitting=fitting,
        claims=claims,
        watch=watch,
        keys=keys,
        unloading=unloading,
        configuring=configuring,
        removing=removing,
    )
