"""Carries out what the scheduler decides: the only place with side effects on runners.

service        the supervisor itself: leases runners, shows what there is, drains
parts          builds all that follows, and says who carries out which decision
lease, claims  one request's claim on one runner; all of them, and who waits for one
actions        decisions are carried out in order, deadlines are kept (`deadline_timer`)
running        starts and stops as decided; what becomes of a runner
fleet          the runners that there are
job_gate       where jobs wait for a pause between people; `background_leases` make room then
keys           which runner serves a model: `sharing` of one by several, `context_variants`
preparation    what the scheduler has to know before it decides: `memory`,
               `configuration_checks`, `launch_specs`
watching, batch_scheduling   what runners hold while they work
slot_persistence   what they had evaluated outlives them
session_states     and what they had evaluated of each session: `session_life` is what one runner
               knows of sessions, `held_conversations` what its engine still has of them
drafts         a model that drafts for another one is loaded with it
unloading, configuring, removing   the owner's commands
fitting        whether a model fits
reports, host_reports   runners and the host as `ps` shows them; `changes` as they happen
refusals       what a refused request is told
limits         what the scheduler holds to, from the settings
"""

from runnerd.supervisor.changes import RunnerChange
from runnerd.supervisor.fitting import Fit
from runnerd.supervisor.host_reports import DeviceReport, WaitingReport
from runnerd.supervisor.lease import Lease, LeaseHolder
from runnerd.supervisor.refusals import died_by_itself
from runnerd.supervisor.reports import RunnerReport
from runnerd.supervisor.service import Supervisor

__all__ = [
    "DeviceReport",
    "Fit",
    "Lease",
    "LeaseHolder",
    "RunnerChange",
    "RunnerReport",
    "Supervisor",
    "WaitingReport",
    "died_by_itself",
]
