"""Requests that differ in nothing but their text from what was planned before.

A program asks the same model the same way over and over.  Which model its name means, which runner
serves it and what its principal may do is the same each time, until the models, the users or what
is configured change: then one of three things is another one than it was, the catalog, the
principal's rights or the revision of the runners' keys, and everything is found anew.  What depends
on the moment (which engine is there, how quickly it answers, what is in quarantine) is asked at
each request.
"""

from __future__ import annotations

import msgspec

from runnerd.access import Policy, Principal
from runnerd.models.catalog import Catalog
from runnerd.models.model import Model
from runnerd.relay.messages import Request
from runnerd.relay.named_models import NamedModels
from runnerd.relay.parsed_request import ParsedRequest
from runnerd.relay.plan import Plan
from runnerd.relay.plan_making import plain_request, same_plan
from runnerd.relay.planner import Planner
from runnerd.relay.request_rewrites.transcode import ImageTranscoder
from runnerd.relay.routes import Route
from runnerd.relay.serving_runners import ServingRunner

_REMEMBERED = 256

_Asked = tuple[str, str, str, str | None, bool]  # path, model, principal, its key, background


class _Answered(msgspec.Struct, frozen=True):
    """What was found for a request, and what that follows from."""

    rights: object
    found: ServingRunner
    sees: bool  # images, which may have to be transcoded
    priority: int


class PlainRequests:
    """Remembers what serves plain requests (`Inference.is_plain`), by who asks what."""

    def __init__(self, policy: Policy, named_models: NamedModels, planner: Planner) -> None:
        self._policy = policy
        self._named_models = named_models
        self._planner = planner
        self._answered: dict[_Asked, _Answered] = {}
        self._catalog: Catalog | None = None  # that all of them were found in

    def plan(
        self, read: ParsedRequest, request: Request, route: Route, principal: Principal
    ) -> Plan | None:
        """The plan for a request like one before; None where it has to be made.

        Raises errors.Unauthorized.
        """
        asked = request.path, read.reference, principal.id, principal.key, request.background
        known = self._answered.get(asked)
        if (
            known is None
            or known.rights is not self._policy.rights(principal)
            or self._catalog is not self._named_models.catalog()
            or known.found.revision != self._planner.keys.revision
            or (known.sees and ImageTranscoder.wanted(read.body))
        ):
            return None
        found, operation = known.found, route.operation
        if found.backend.unsupported_reason(operation.name, found.mode) is not None:
            return None
        plain = plain_request(operation, read, found, request)
        plan = None if plain is None else found.plans.get(plain)
        return None if plan is None else same_plan(plan, read, known.priority)

    def note(
        self,
        read: ParsedRequest,
        model: Model,
        request: Request,
        route: Route,
        principal: Principal,
        priority: int,
    ) -> None:
        """A plan was made for a request to a model of the catalog, which others may be like.

        One that names a runner is not remembered: whose that is may change at any time.
        """
        if route.runner is not None or route.also is not None or not read.is_plain:
            return
        found = self._planner.serving.find(route, route.operation, read.reference, model)
        if found.backend.uses_external_model_management:
            return  # it knows its models itself
        if plain_request(route.operation, read, found, request) is None:
            return  # its plan is made anew each time
        catalog = self._named_models.catalog()
        if self._named_models.model(read.reference, route, principal) is not model:
            return  # the catalog was replaced, by a thread, since the model was looked up
        if catalog is not self._catalog or len(self._answered) >= _REMEMBERED:
            self._answered.clear()
            self._catalog = catalog
        asked = request.path, read.reference, principal.id, principal.key, request.background
        self._answered[asked] = _Answered(
            self._policy.rights(principal),
            found,
            "vision" in model.capabilities,
            priority,
        )
