"""Who may use a runner's own socket, where the relay is not asked: by the same keys and policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from runnerd.access import Action, Principal, Rules
from runnerd.errors import ModelNotFound
from runnerd.models.store import Store
from runnerd.relay.authentication import Headers, user_of
from runnerd.relay.visible_models import VisibleModels


class EngineAdmission:
    """Asked by the guard of each runner; `peer` is who has a user id of this host."""

    def __init__(self, store: Store, rules: Rules, peer: Callable[[int | None], Principal]) -> None:
        self._store = store
        self._rules = rules
        self._peer = peer
        self._models = VisibleModels(store, rules)

    def __call__(self, model: str, uid: int | None, headers: Headers) -> None:
        """Let a request to the engine of a model or a load in.

        Raises errors.Unauthorized, PermissionMissing, ModelNotFound.
        """
        user = user_of(headers, self._rules.authenticate)
        principal = self._peer(uid) if user is None else user
        self._rules.check(principal, Action.USE_ENGINE)
        if not any(self._is_there(principal, id) for id in self._ids(model)):
            raise ModelNotFound("there is no such model", param="model")

    def _ids(self, model: str) -> Iterable[str]:
        return self._store.loaded_as(model) or [model]

    def _is_there(self, principal: Principal, id: str) -> bool:
        if self._store.id_of(id) is None:  # a backend's own, whose name is its id
            return self._models.may_be(principal, id)
        return self._models.of(principal).has(id)
