"""The models that there are for a principal: for who asks for another one it is as if it were not.

Whoever looks a model up for somebody, in a request, a list or a command, looks into this.
"""

from __future__ import annotations

from functools import partial

from runnerd.access import Policy, Principal
from runnerd.access.model_patterns import granted
from runnerd.errors import InvalidReference
from runnerd.models.catalog import Catalog
from runnerd.models.pages import model_of_page
from runnerd.models.reference import Reference
from runnerd.models.store import Store


class VisibleModels:
    """The store's models, as the policy shows them."""

    def __init__(self, store: Store, policy: Policy) -> None:
        self._store = store
        self._policy = policy
        self.catalog = store.latest

    def of(self, principal: Principal) -> Catalog:
        """The models that there are for a principal.  Raises errors.Unauthorized."""
        grants = self._policy.grants(principal)
        catalog = self._store.catalog
        return catalog if grants is None else catalog.view(grants, partial(granted, grants))

    def exists(self, id: str) -> bool:
        """Whether there is a model with this id for anybody, or it is a backend's own."""
        return self._store.id_of(id) is None or self._store.catalog.has(id)

    def may_be(self, principal: Principal, reference: str) -> bool:
        """Whether a model of this name, were it here, would be one for a principal.

        Raises errors.Unauthorized.
        """
        grants = self._policy.grants(principal)
        return grants is None or bool(granted(grants, (_canonical(reference),)))


def _canonical(reference: str) -> str:
    try:
        return str(Reference.parse(model_of_page(reference)))
    except InvalidReference:
        return reference
