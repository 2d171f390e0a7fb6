"""Who asks, what they want to do, and whether they may.

*Principal*: who a request comes from, as far as the daemon knows.
*Action*: what a route does, as a permission would name it; every route of relay and control plane
declares one.
*Policy*: whether a principal may do an action, on a model where it concerns one.

Everything here is pure: no clock, no loop, no I/O.  Who is at the other end of a connection is
found out where connections are made (`relay/client_connection`).
"""

from runnerd.access.actions import Action
from runnerd.access.policy import AllowAll, Policy
from runnerd.access.principals import NOBODY, Principal, address_principal, local_principal

__all__ = [
    "NOBODY",
    "Action",
    "AllowAll",
    "Policy",
    "Principal",
    "address_principal",
    "local_principal",
]
