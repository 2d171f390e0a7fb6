"""Carries out what the scheduler decides: the only place with side effects on runners.

lease       one request's claim on one runner
reports     runners as `ps` shows them
refusals    what a refused request is told
service     the supervisor itself
"""

from runnerd.supervisor.lease import Lease
from runnerd.supervisor.refusals import died_by_itself
from runnerd.supervisor.reports import RunnerReport
from runnerd.supervisor.service import Supervisor

__all__ = ["Lease", "RunnerReport", "Supervisor", "died_by_itself"]
