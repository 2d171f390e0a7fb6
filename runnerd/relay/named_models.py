"""The model that a request names: of the store or of a backend's own, as far as its principal may
know of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from runnerd.access import Principal
from runnerd.backends.configuration import BackendConfiguration
from runnerd.errors import MisdirectedRequest, ModelNotFound
from runnerd.models.catalog import Catalog, shown
from runnerd.models.external import external_model
from runnerd.models.model import Model
from runnerd.relay.routes import Route
from runnerd.relay.visible_models import VisibleModels
from runnerd.supervisor.keys import Keys


class NamedModels:
    """Looks models up by what requests call them."""

    def __init__(self, models: VisibleModels, keys: Keys) -> None:
        self._models = models
        self._keys = keys
        self.catalog: Callable[[], Catalog] = models.catalog
        """All models of the store, whoever may know of them: another one whenever they change."""

    def model(self, reference: str, route: Route, principal: Principal) -> Model:
        """The model that a request names.  What a principal may not know of is not there.

        Raises errors.ModelNotFound, and MisdirectedRequest when the runner that the path names
        serves another one.
        """
        if route.runner is None:
            return self._model(reference, route.backend, principal)
        key = self._keys.of_runner(route.runner, partial(self._is_there, principal))
        try:
            model = self._model(reference, key.backend, principal)
        except ModelNotFound:
            model = None
        if model is None or not self._keys.serves(key, str(model.id)):
            raise MisdirectedRequest(
                f"runner {route.runner} serves another model than {reference!r}", param="model"
            )
        return model

    def may_be(self, reference: str, principal: Principal) -> bool:
        """Whether a model of this name, were it here, would be one for a principal."""
        return self._models.may_be(principal, reference)

    def check_granted(self, principal: Principal, backend_name: str, id: str) -> None:
        """Raise errors.ModelNotFound for a model, by id, that is here and not for a principal."""
        if not self._is_there(principal, backend_name, id) and self._models.exists(id):
            raise ModelNotFound("this model is not here any more", param="model")

    def _is_there(self, principal: Principal, backend_name: str, id: str) -> bool:
        """Whether a principal may know of a model, by its id."""
        if self._keys.backend(backend_name).uses_external_model_management:
            return self._models.may_be(principal, id)
        return self._models.of(principal).has(id)

    def _model(self, reference: str, backend_name: str | None, principal: Principal) -> Model:
        """The model that a name means to a backend: of the store, or of the backend's own.

        Raises errors.ModelNotFound, BackendNotFound.
        """
        backend = self._keys.backend(backend_name)
        if not backend.uses_external_model_management:
            return self._models.of(principal).get(reference)
        if not self._models.may_be(principal, reference):
            raise ModelNotFound(f"model {shown(reference)} not found", param="model")
        backend.context(reference, BackendConfiguration())  # raises for one that is not there
        return external_model(reference)
