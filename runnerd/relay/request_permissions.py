"""What the policy says of an inference request: of its head, of its plan, and while it goes on."""

from __future__ import annotations

import msgspec

from runnerd.access import Action, Policy, Principal, UserLimits
from runnerd.errors import PermissionMissing
from runnerd.pulls.asker import Asker
from runnerd.relay.messages import Request
from runnerd.relay.named_models import NamedModels
from runnerd.relay.plan import Plan
from runnerd.relay.routes import Route
from runnerd.scheduler import BACKGROUND

_LONGEST_STAY = 3600.0  # seconds that whoever may only use a model may have it stay


class RequestPermissions:
    """Holds requests against the policy, as it is at each question."""

    def __init__(self, policy: Policy, named_models: NamedModels) -> None:
        self._policy = policy
        self._named_models = named_models

    def authorize(self, request: Request, route: Route, principal: Principal) -> None:
        """Refuse a request of which the head says that its principal may not ask it.

        Raises errors.Unauthorized, PermissionMissing.
        """
        action = Action.LOAD_MODEL if request.preload_only else route.operation.action
        try:
            self._policy.check(principal, action)
        except PermissionMissing:
            if route.also is None or not self._may(principal, route.also):
                raise

    def permitted(
        self, plan: Plan, request: Request, principal: Principal
    ) -> tuple[Plan, UserLimits]:
        """A plan as its principal may carry it out, and the principal's limits.

        Raises errors.Unauthorized, PermissionMissing.
        """
        self._policy.check(principal, plan.action)
        limits = self._policy.limits(principal)
        if plan.keep_alive is not None and not 0 <= plan.keep_alive <= _LONGEST_STAY:
            plan = self._shortened(plan, principal)
        priority = BACKGROUND if request.background else limits.priority
        if priority:
            plan = msgspec.structs.replace(plan, priority=priority)
        return plan, limits

    def still_allowed(self, principal: Principal, plan: Plan | None) -> None:
        """Raise what a principal would be told that asked now what it has asked before; None: what
        it is was not known yet.
        """
        if plan is None:
            self._policy.limits(principal)
            return
        self._policy.check(principal, plan.action)
        if self._policy.grants(principal) is not None:
            self._named_models.check_granted(principal, plan.key.backend, plan.model)

    def puller(self, principal: Principal) -> Asker | None:
        """Who pulls a model by asking it something, None for a principal that may not pull.

        Raises errors.Unauthorized.
        """
        if not self._may(principal, Action.DOWNLOAD_MODEL):
            return None
        return Asker.of(principal, self._policy)

    def _shortened(self, plan: Plan, principal: Principal) -> Plan:
        """A plan after which a model stays no longer than who asks may say: to keep one loaded
        takes the permission to load it.
        """
        if self._may(principal, Action.LOAD_MODEL):
            return plan
        told = f"keep_alive: to keep a model for more than {_LONGEST_STAY:.0f} s takes load_llm"
        return msgspec.structs.replace(
            plan, keep_alive=_LONGEST_STAY, warnings=(*plan.warnings, told)
        )

    def _may(self, principal: Principal, action: Action) -> bool:
        try:
            self._policy.check(principal, action)
        except PermissionMissing:
            return False
        return True
