"""Which runner serves an operation on a model, and what is known of it: looked up for each request.

It is remembered as long as neither the model nor a setting changes.
"""

from __future__ import annotations

from typing import NamedTuple

from runnerd.backends.configuration import BackendMode
from runnerd.backends.interface import Backend
from runnerd.errors import NotSupported
from runnerd.models.catalog import shown
from runnerd.models.model import Model
from runnerd.relay.known_model import KnownModel, known_model
from runnerd.relay.model_modes import mode_for, modes
from runnerd.relay.operations import Operation
from runnerd.relay.plan import Plan
from runnerd.relay.request_rewrites.parameters import ParameterRules, rules_for
from runnerd.relay.routes import Route
from runnerd.relay.token_time import TokenTime
from runnerd.scheduler import RunnerKey
from runnerd.supervisor.keys import Keys

_REMEMBERED = 256

_REMEDIES = {
    "audio": "model {} has no audio encoder; pull one with an audio projector,"
    " such as hf.co/ggml-org/ultravox-v0_5-llama-3_2-1b-GGUF"
}


PlainRequest = tuple[bool, bool, bool, str | None]
"""What plans for plain requests (`Inference.is_plain`) to one runner differ in, beside body and
translation: whether they stream, are assembled, only preload, and their origin.
"""


class ServingRunner(NamedTuple):
    """The runner that serves an operation on a model.

    `plans` are those that were made of plain requests, for the next ones.
    """

    model: Model
    id: str  # the model's; to make it costs as much as to find it
    revision: int
    backend: Backend
    mode: BackendMode
    key: RunnerKey
    spreads: bool  # over several instances
    known: KnownModel
    rules: ParameterRules | None
    token_time: TokenTime | None  # of runners that generate
    plans: dict[PlainRequest, Plan]

    def is_of(self, model: Model) -> bool:
        """Whether this was found for the same model; what it is called changes nothing here."""
        known = self.model
        return known is model or (
            known.description is model.description and known.manifest is model.manifest
        )


class ServingRunners:
    """Finds the runner that serves a request."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._found: dict[tuple[str | None, str, str], ServingRunner] = {}
        self._token_times: dict[RunnerKey, TokenTime] = {}

    def find(
        self, route: Route, operation: Operation, reference: str, model: Model
    ) -> ServingRunner:
        """What serves an operation; found anew when the model or a setting has changed.

        Raises errors.ClientError, NotSupported (501), BackendNotFound and RunnerNotFound.
        """
        if route.runner is not None:
            return self._bound(route.runner, operation, model)
        revision = self._keys.revision
        asked = route.backend, operation.name, reference
        known = self._found.get(asked)
        if known is not None and known.is_of(model) and known.revision == revision:
            return known
        backend = self._keys.backend(route.backend)
        mode = mode_for(operation, modes(model.capabilities), reference)
        if operation.needs is not None and operation.needs not in model.capabilities:
            raise NotSupported(_REMEDIES[operation.needs].format(shown(reference)))
        key = self._keys.key(backend, str(model.id), mode)
        if len(self._found) >= _REMEMBERED:
            self._found.clear()
        found = self._served(key, model, operation, backend, mode)
        self._found[asked] = found
        return found

    def _bound(self, runner: str, operation: Operation, model: Model) -> ServingRunner:
        """The same, for the runner that the path names."""
        key = self._keys.of_runner(runner)
        backend = self._keys.backend(key.backend)
        return self._served(key, model, operation, backend, BackendMode(key.mode))

    def _served(
        self,
        key: RunnerKey,
        model: Model,
        operation: Operation,
        backend: Backend,
        mode: BackendMode,
    ) -> ServingRunner:
        """How requests for an operation are met by runners of a key: whether they may find several
        instances to choose from, what is known of the model, and what is changed in them.
        """
        id, revision, known = str(model.id), self._keys.revision, known_model(model)
        if key.mode != BackendMode.COMPLETION:
            return ServingRunner(
                model, id, revision, backend, mode, key, False, known, None, None, {}
            )
        configuration = self._keys.configuration(key, id)
        rules = rules_for(configuration, model.description.modelfile, operation.name)
        spreads = self._keys.spreads(key)
        time = self._token_time(key)
        return ServingRunner(
            model, id, revision, backend, mode, key, spreads, known, rules, time, {}
        )

    def _token_time(self, key: RunnerKey) -> TokenTime:
        if key not in self._token_times and len(self._token_times) >= _REMEMBERED:
            self._token_times.clear()
        return self._token_times.setdefault(key, TokenTime())
