"""Decides who gets which runner, what is started and what is stopped.  Decides, and nothing else.

Events go in as method calls with the present time; decisions come out as a list, to be carried out
by the supervisor in order.  There is no clock, no loop, no chance and no logging in here, so that
every behaviour can be tested as a table of events and decisions.

A *ticket* is one request that wants a runner.  It is granted (a *lease*), refused, or withdrawn by
its owner; it never stays unanswered.  A *pool* is all runners of one key; what they take of the
host is a *budget*; who waits stands in one fair *queue*.

    decisions   the words: keys, terms, Start, Stop, Grant, Refuse, and what is on view
    queue       who waits, fair between clients
    line        who waits for one pool, and who of them is next
    sharers     who uses a pool: no client holds all the places that others want
    pace        how quickly an engine answers, and how much it is therefore given at a time
    pauses      when work may begin that nobody waits for
    budget      what runners may take of each device, and what is left
    pool        the runners of one key and what is remembered of them
    failure_history  when a model that failed may be tried again
    candidates  who can be asked to make room, and when
    eviction    who goes when room is needed
    shaping     how many slots an instance gets
    capacity_planner  who is started, who makes room, whose turn is over
    serving     who is granted a runner, and who is refused
    overcommit_relief  who goes when runners hold more than they may
    shares      how long each model's turn lasts
    scheduler_state  all of this in one place
    views       the state on view
    queries     what the scheduler can be asked
    needs       what it is told of models and of memory
    request_admission  a request asks for a runner: granted, queued or refused
    core        the scheduler itself: what happens, and what is decided upon it
"""

from runnerd.scheduler.core import Scheduler
from runnerd.scheduler.decisions import (
    Decision,
    DeviceMemory,
    FailureView,
    Fault,
    Grant,
    Limits,
    Refusal,
    Refuse,
    RunnerKey,
    RunnerState,
    RunnerView,
    Shape,
    Start,
    Stop,
    StopReason,
    Terms,
)
from runnerd.scheduler.queries import Queries
from runnerd.scheduler.queue import BACKGROUND
from runnerd.units import FOREVER

__all__ = [
    "BACKGROUND",
    "FOREVER",
    "Decision",
    "DeviceMemory",
    "FailureView",
    "Fault",
    "Grant",
    "Limits",
    "Queries",
    "Refusal",
    "Refuse",
    "RunnerKey",
    "RunnerState",
    "RunnerView",
    "Scheduler",
    "Shape",
    "Start",
    "Stop",
    "StopReason",
    "Terms",
]
