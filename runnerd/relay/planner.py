"""From a complete request to its plan: every check that needs no runner, in one place."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.interface import Backend
from runnerd.config import Limits
from runnerd.errors import (
    ClientError,
    MisdirectedRequest,
    ModelNotFound,
    NotSupported,
)
from runnerd.models.catalog import Model, shown
from runnerd.models.external import external_model
from runnerd.models.store import Store
from runnerd.relay.affinity import affinity_of
from runnerd.relay.body import (
    STREAMED_END,
    Body,
    count_prompts,
    inspect,
    streamed,
)
from runnerd.relay.dialect import Retry, TranslatedRequest
from runnerd.relay.engine import Buffer
from runnerd.relay.known_model import KnownModel, known_model
from runnerd.relay.messages import Request
from runnerd.relay.plan import Plan
from runnerd.relay.request_rewrites.parameters import ParameterRules, completed, rules_for
from runnerd.relay.request_rewrites.tool_choice import with_chosen_tools
from runnerd.relay.request_validation import JUDGED_ALWAYS, validate_request
from runnerd.relay.response_adapters.infill import infill_wanted
from runnerd.relay.response_adapters.logprobs import NO_ALTERNATIVES, with_one_alternative
from runnerd.relay.response_adapters.select import translation_of
from runnerd.relay.routes import OPERATIONS, Operation, Route
from runnerd.scheduler import RunnerKey
from runnerd.supervisor.keys import Keys

_REMEMBERED = 256


class _Found(NamedTuple):
    """Which runner serves an operation on a model, as long as neither is changed."""

    model: Model
    id: str  # the model's; to make it costs as much as to find it
    revision: int
    backend: Backend
    mode: BackendMode
    key: RunnerKey
    spreads: bool  # over several instances
    known: KnownModel
    rules: ParameterRules | None


class UnseenRequest(NamedTuple):
    """A request for a model that may be pulled for it: which one, and whether it could succeed."""

    reference: str
    operation: str
    body: bytes
    judged: bool

    def validate(self) -> None:
        """Refuse what no engine would take, whatever the model is.  Raises errors.ClientError."""
        if self.judged:
            validate_request(self.operation, self.body)


class Planner:
    """Turns a complete request into a plan."""

    def __init__(self, models: Store, keys: Keys, limits: Limits) -> None:
        self._models = models
        self._keys = keys
        self._limits = limits
        self._found: dict[tuple[str | None, str, str], _Found] = {}

    def plan(self, request: Request, route: Route) -> Plan:
        """Return the plan.  Raises errors of the 4xx kind and NotSupported (501)."""
        if route.dialect is not None:
            return self._translated(route.dialect.read(request.body), route, request)
        body = request.body
        inference = inspect(body, self._limits)
        operation, infill = route.operation, None
        if operation.name == "completions" and (infill := infill_wanted(body, inference)):
            operation, body = OPERATIONS["infill"], infill.body
        if route.runner is not None:
            key, model = self._bound_key(route.runner, inference.model)
            id = str(model.id)
            backend = self._keys.backend(key.backend)
            mode = BackendMode(key.mode)
            spreads, known, rules = self._manner(key, model, operation)
        else:
            found = self._find(route.backend, operation, inference.model)
            backend, mode, key, id = found.backend, found.mode, found.key, found.id
            spreads, known, rules = found.spreads, found.known, found.rules
        if (remedy := backend.unsupported_reason(operation.name, mode)) is not None:
            raise NotSupported(remedy)
        if operation.name in JUDGED_ALWAYS and not request.preload_only:
            validate_request(operation.name, bytes(body), known)
        streams, prompts = inference.stream is True, count_prompts(inference.prompt)
        assembles = operation.assembles and not streams and backend.streams_to_cancel
        if assembles and rules is None and operation.name == "chat/completions":
            assembles = not inference.has_one_token()  # it would stop no sooner as a stream
        if operation.name == "completions" and inference.logprobs == NO_ALTERNATIVES:
            body = with_one_alternative(body)
        elif operation.name == "chat/completions":
            body = with_chosen_tools(body, inference)
        return Plan(
            operation=operation,
            key=key,
            model=id,
            model_ref=str(inference.model),
            body=_engine_body(body, rules, assembles=assembles) if rules or assembles else (body,),
            streams=streams,
            assembles=assembles,
            prompts=prompts,
            preload_only=request.preload_only,
            origin=request.origin,
            affinity=affinity_of(body) if spreads else (),
            known=known,
            translation=infill.translation
            if infill
            else translation_of(operation, inference, prompts, assembles=assembles),
        )

    def unseen(self, request: Request, route: Route) -> UnseenRequest:
        """Return what a request asks of a model that is not here.  Raises errors.ClientError."""
        if route.dialect is None:
            body, operation = request.body, route.operation.name
            judged = not request.preload_only
        else:
            translated = route.dialect.read_unseen(request.body)
            body, operation = translated.body, translated.operation
            judged = translated.immediate is None
        return UnseenRequest(inspect(body, self._limits).model, operation, bytes(body), judged)

    def _translated(self, translated: TranslatedRequest, route: Route, request: Request) -> Plan:
        """Return the plan of a request in another dialect; the engine's terms have its limits."""
        assert route.dialect is not None
        inference = inspect(translated.body, self._limits)
        operation = OPERATIONS[translated.operation]
        found = self._find(None, operation, inference.model)
        if translated.limit is not None and found.rules is not None:
            translated.limit.tokens = found.rules.limit(translated.limit.tokens)
        key, warnings = found.key, translated.warnings
        if translated.context is not None:
            key = self._keys.key(found.backend, found.id, found.mode, context=translated.context)
            if 0 < (size := self._keys.context(key)) < translated.context:
                warnings += (f"num_ctx: this model has a context of {size} tokens here",)
        if (remedy := found.backend.unsupported_reason(operation.name, found.mode)) is not None:
            raise NotSupported(remedy)
        return Plan(
            operation=operation,
            key=key,
            model=found.id,
            model_ref=str(inference.model),
            body=_translated_body(translated, translated.body, found.rules),
            streams=translated.translation.streams,
            assembles=False,
            prompts=1,
            preload_only=request.preload_only,
            origin=route.dialect.origin or request.origin,
            translation=translated.translation,
            keep_alive=translated.keep_alive,
            immediate=translated.immediate,
            unloads=translated.unloads,
            affinity=affinity_of(translated.body) if found.spreads else (),
            known=found.known,
            retry_with=_again(translated, found.rules),
            warnings=warnings,
        )

    def _find(self, backend_name: str | None, operation: Operation, reference: str) -> _Found:
        """Return what serves the operation; found anew when the model or a setting has changed."""
        model = self._model(reference, backend_name)
        revision = self._keys.revision
        asked = backend_name, operation.name, reference
        known = self._found.get(asked)
        if known is not None and known.model is model and known.revision == revision:
            return known
        backend = self._keys.backend(backend_name)
        mode = _mode(operation, modes(model.capabilities), reference)
        if operation.needs is not None and operation.needs not in model.capabilities:
            raise NotSupported(_NEEDS[operation.needs].format(shown(reference)))
        key = self._keys.key(backend, str(model.id), mode)
        if len(self._found) >= _REMEMBERED:
            self._found.clear()
        manner = self._manner(key, model, operation)
        found = _Found(model, str(model.id), revision, backend, mode, key, *manner)
        self._found[asked] = found
        return found

    def _manner(
        self, key: RunnerKey, model: Model, operation: Operation
    ) -> tuple[bool, KnownModel, ParameterRules | None]:
        """Return how such requests are met: whether they may find several instances to choose from,
        what is known of the model, and what is changed in them.
        """
        known = known_model(model)
        if key.mode != BackendMode.COMPLETION:
            return False, known, None
        configuration = self._keys.configuration(key, str(model.id))
        rules = rules_for(configuration, model.description.modelfile, operation.name)
        return self._keys.spreads(key), known, rules

    def _model(self, reference: str, backend_name: str | None) -> Model:
        """The model that a name means to a backend: of the store, or of the backend's own.

        Raises errors.ModelNotFound, BackendNotFound.
        """
        backend = self._keys.backend(backend_name)
        if not backend.uses_external_model_management:
            return self._models.get(reference)
        backend.context(reference, BackendConfiguration())  # raises for one that is not there
        return external_model(reference)

    def _bound_key(self, runner: str, reference: str) -> tuple[RunnerKey, Model]:
        """Return what the runner that the path names is for, if it serves `reference`; else 421."""
        key = self._keys.of_runner(runner)
        try:
            model = self._model(reference, key.backend)
        except ModelNotFound:
            model = None
        if model is None or not self._keys.serves(key, str(model.id)):
            raise MisdirectedRequest(
                f"runner {runner} serves another model than {reference!r}", param="model"
            )
        return key, model


_NEEDS = {
    "audio": "model {} has no audio encoder; pull one with an audio projector,"
    " such as hf.co/ggml-org/ultravox-v0_5-llama-3_2-1b-GGUF"
}


def _engine_body(
    body: Body, rules: ParameterRules | None, *, assembles: bool
) -> tuple[Buffer, ...]:
    """Return the body for the engine: the client's own bytes where nothing is to be changed."""
    if rules is not None:
        return (*rules.applied(body), STREAMED_END if assembles else b"}")
    return streamed(body) if assembles else (body,)


def _translated_body(
    translated: TranslatedRequest, body: bytes, rules: ParameterRules | None
) -> tuple[Buffer, ...]:
    """Return the body of a dialect's request with what it leaves unsaid."""
    if rules is not None:
        return (*rules.applied(body, translated.defaults, has_prefix=translated.has_prefix), b"}")
    return (completed(body, translated.defaults),) if translated.defaults else (body,)


def _again(translated: TranslatedRequest, rules: ParameterRules | None) -> Retry | None:
    """Return what a dialect asks instead of what the engine refused, changed as the first was."""
    again = translated.retry_with
    if again is None:
        return None

    def changed(error: dict[str, Any]) -> bytes | None:
        body = again(error)
        return None if body is None else b"".join(_translated_body(translated, body, rules))

    return changed


@lru_cache(maxsize=64)
def modes(capabilities: tuple[str, ...]) -> tuple[BackendMode, ...]:
    """Return the modes that a model of these capabilities can be run in, its own purpose first."""
    found = [mode for mode in BackendMode if mode.value in capabilities]
    if BackendMode.COMPLETION in found and BackendMode.EMBEDDING not in found:
        found.append(BackendMode.EMBEDDING)  # the engine embeds with any model that it can run
    return tuple(found)


def _mode(operation: Operation, possible: tuple[BackendMode, ...], reference: str) -> BackendMode:
    """Return the mode to run the model in, or explain that it cannot do this operation."""
    if operation.mode is None:
        return possible[0] if possible else BackendMode.COMPLETION
    if operation.mode not in possible:
        able = ", ".join(mode.value for mode in possible) or "nothing"
        raise ClientError(
            f"model {reference!r} does not support {operation.name} (it is for: {able})",
            param="model",
        )
    return operation.mode
