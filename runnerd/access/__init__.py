"""Who asks, what they want to do, and whether they may.

*Principal*: who a request comes from, as far as the daemon knows.
*User* and *key*: somebody whom the owner let in, and the secret that shows it; all of them are
in one *directory*, a snapshot in memory.
*Permission*: what the owner allows a user.
*Action*: what a route does, as a permission would name it; every route of relay and control plane
declares one.
*Policy*: whether a principal may do an action, on a model where it concerns one.

*Peer*: what the kernel says of the other end of a connection; without a key it makes the principal.

Everything here is pure: no clock, no loop, no I/O.  Who is at the other end of a connection is
found out where connections are made (`relay/client_connection`).
"""

from runnerd.access.actions import Action
from runnerd.access.directory import Directory
from runnerd.access.peers import ListenerKind, Peer, PeerRules, peer_principal
from runnerd.access.permissions import Permission
from runnerd.access.policy import Policy, Rules
from runnerd.access.principals import (
    NOBODY,
    Principal,
    PrincipalKind,
    address_principal,
    by_any_key,
    local_principal,
    owner_principal,
    user_principal,
)
from runnerd.access.users import Key, User, UserLimits

__all__ = [
    "NOBODY",
    "Action",
    "Directory",
    "Key",
    "ListenerKind",
    "Peer",
    "PeerRules",
    "Permission",
    "Policy",
    "Principal",
    "PrincipalKind",
    "Rules",
    "User",
    "UserLimits",
    "address_principal",
    "by_any_key",
    "local_principal",
    "owner_principal",
    "peer_principal",
    "user_principal",
]
