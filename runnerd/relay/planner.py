"""From a complete request to its plan: every check that needs no runner, in one place.

A request is read once (`read`), its model is looked up (`model`), and with that it is planned
(`plan`).  What has to be waited for in between, a model that is being pulled or images that are
transcoded, is nothing that this knows of (`intake`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import msgspec

from runnerd.access import Principal
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
from runnerd.relay.affinity import affinity_of
from runnerd.relay.body import Body, Inference
from runnerd.relay.body_inspection import inspect
from runnerd.relay.body_scan import check_weight, is_heavy
from runnerd.relay.dialect import ForeignRequest, Retry, TranslatedRequest, UnreadyRequest
from runnerd.relay.engine import Buffer
from runnerd.relay.engine_bodies import (
    completed_request,
    engine_body,
    retry_within_rules,
    translated_body,
)
from runnerd.relay.known_model import UNSEEN, KnownModel, known_model
from runnerd.relay.messages import Request
from runnerd.relay.model_modes import mode_for, modes
from runnerd.relay.operations import OPERATIONS, Operation
from runnerd.relay.parsed_request import ParsedRequest
from runnerd.relay.plan import Plan
from runnerd.relay.request_rewrites.known_schemas import has_schemas, with_known_schemas
from runnerd.relay.request_rewrites.null_members import without_nulls
from runnerd.relay.request_rewrites.parameters import ParameterRules, rules_for
from runnerd.relay.request_rewrites.ranked_documents import with_plain_documents
from runnerd.relay.request_rewrites.stop_words import with_said_stops
from runnerd.relay.request_rewrites.undecodable_text import decodable
from runnerd.relay.request_validation import JUDGED_ALWAYS, validate_request
from runnerd.relay.response_adapters.infill import infill_wanted
from runnerd.relay.response_adapters.logprobs import half_characters_wanted
from runnerd.relay.response_adapters.select import translation_of
from runnerd.relay.routes import Route
from runnerd.relay.token_time import TokenTime
from runnerd.relay.tool_plans import ToolPlan, tool_plan
from runnerd.relay.visible_models import VisibleModels
from runnerd.scheduler import RunnerKey
from runnerd.supervisor.keys import Keys

_REMEMBERED = 256

ReadRequest = ParsedRequest | ForeignRequest
"""A request whose body was decoded: one in the engine's terms, or one of another API."""


class Translated(NamedTuple):
    """A request of another API, by the model that it names, in the engine's terms."""

    reference: str
    request: TranslatedRequest
    asked: ParsedRequest
    warnings: tuple[str, ...]


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
    token_time: TokenTime | None = None  # of runners that generate

    def is_of(self, model: Model) -> bool:
        """Whether this was found for the same model; what it is called changes nothing here."""
        known = self.model
        return known is model or (
            known.description is model.description and known.manifest is model.manifest
        )


class Planner:
    """Turns a complete request into a plan."""

    def __init__(self, models: VisibleModels, keys: Keys, limits: Limits) -> None:
        self._models = models
        self._keys = keys
        self._limits = limits
        self._found: dict[tuple[str | None, str, str], _Found] = {}
        self._token_times: dict[RunnerKey, TokenTime] = {}

    def read(self, body: Body, route: Route, principal: Principal) -> ReadRequest | UnreadyRequest:
        """Decode a request's body; one in the engine's terms is held against the limits, too.

        Raises errors of the 4xx kind.
        """
        if is_heavy(body):
            check_weight(body, self._limits.json_depth)
        try:
            return self._read(body, route, principal)
        except ClientError:
            if (whole := decodable(body)) is None:
                raise
        return self._read(whole, route, principal)

    def _read(self, body: Body, route: Route, principal: Principal) -> ReadRequest | UnreadyRequest:
        if route.dialect is not None:
            return route.dialect.read(body, principal)
        said = without_nulls(body)
        if route.operation.mode is BackendMode.RERANKING:
            said = with_plain_documents(said)
        return inspect(said, self._limits, weighed=said is body)

    def model(self, reference: str, route: Route, principal: Principal) -> Model:
        """The model that a request names.  Raises errors.ModelNotFound, and MisdirectedRequest when
        the runner that the path names serves another one.  What a principal may not know of is not
        there.
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

    def judge_unseen(self, read: ReadRequest, request: Request, route: Route) -> None:
        """Refuse a request for a model that is not here where no engine would take it, whatever the
        model is.  Raises errors.ClientError.
        """
        if isinstance(read, ParsedRequest):
            if not request.preload_only:
                validate_request(route.operation.name, bytes(read.body))
            return
        translated = read.translated(UNSEEN)
        body = inspect(translated.body, self._limits).body
        if translated.immediate is None:
            validate_request(translated.operation.name, bytes(body))

    def translated(self, read: ForeignRequest, model: Model) -> Translated:
        """A request of another API in the engine's terms, which has the limits; from any thread.

        Raises errors.ClientError and PayloadTooLarge.
        """
        translated = read.translated(model)
        inspected = with_said_stops(inspect(translated.body, self._limits))
        return Translated(read.reference, translated, *with_known_schemas(inspected))

    def plan(
        self,
        read: ReadRequest | Translated,
        model: Model,
        request: Request,
        route: Route,
        *,
        judges: bool = True,
    ) -> Plan:
        """Plan a request for its model.  Without `judges` the caller judges what engines do not
        (`Plan.is_judged_here`).  Raises errors of the 4xx kind and NotSupported (501).
        """
        if isinstance(read, Translated):
            return self._translated(read, model, request, route)
        if not isinstance(read, ParsedRequest):
            return self._translated(self.translated(read, model), model, request, route)
        fields, reference = read.fields, read.reference
        operation, infill = route.operation, None
        if operation.name == "completions" and (infill := infill_wanted(read)):
            operation, read = OPERATIONS["infill"], infill.request
        found = self._find(route, operation, reference, model)
        if (remedy := found.backend.unsupported_reason(operation.name, found.mode)) is not None:
            raise NotSupported(remedy)
        if judges and operation.name in JUDGED_ALWAYS and not request.preload_only:
            validate_request(operation.name, bytes(read.body), found.known)
        streams, prompts = fields.stream is True, read.prompts
        assembles = not streams and _assembles(operation, fields, found)
        read = completed_request(operation, read)
        warnings: tuple[str, ...] = ()
        tools = None
        if has_schemas(fields):
            read, warnings = with_known_schemas(read)
            tools = tool_plan(operation.name, read) if found.backend.streams_to_cancel else None
        if tools is not None:  # its response is read as a stream, however short
            assembles = not streams
        translation = translation_of(operation, fields, prompts, assembles=assembles)
        plan = Plan(
            operation=operation,
            key=found.key,
            model=found.id,
            model_ref=reference,
            body=engine_body(read, found.rules, assembles=assembles),
            streams=streams,
            assembles=assembles,
            prompts=prompts,
            preload_only=request.preload_only,
            origin=request.origin,
            affinity=affinity_of(read.fields, request.session) if found.spreads else (),
            session=request.session,
            known=found.known,
            token_time=found.token_time,
            translation=infill.translation if infill else translation,
            warnings=warnings,
        )
        if tools is None:
            return plan
        body_of = partial(engine_body, rules=found.rules, assembles=assembles)
        return _with_tools(plan, tools, body_of)

    def _translated(self, read: Translated, model: Model, request: Request, route: Route) -> Plan:
        """Plan a request of another API."""
        assert route.dialect is not None
        reference, translated, asked, told = read
        operation = translated.operation
        found = self._find(route, operation, reference, model)
        tools = tool_plan(operation.name, asked) if found.backend.streams_to_cancel else None
        _check_needs(translated.needs, model, reference)
        if translated.limit is not None and found.rules is not None:
            translated.limit.tokens = found.rules.limit(translated.limit.tokens)
        key, warnings = found.key, translated.warnings + told
        if translated.context is not None:
            key = self._keys.key(found.backend, found.id, found.mode, context=translated.context)
            if 0 < (size := self._keys.context(key)) < translated.context:
                warnings += (f"num_ctx: this model has a context of {size} tokens here",)
        if (remedy := found.backend.unsupported_reason(operation.name, found.mode)) is not None:
            raise NotSupported(remedy)
        plan = Plan(
            operation=operation,
            key=key,
            model=found.id,
            model_ref=reference,
            body=translated_body(translated, asked, found.rules),
            streams=translated.translation.streams,
            assembles=False,
            prompts=1,
            preload_only=request.preload_only,
            origin=route.dialect.origin or request.origin,
            translation=translated.translation,
            keep_alive=translated.keep_alive,
            immediate=translated.immediate,
            unloads=translated.unloads,
            affinity=affinity_of(asked.fields, request.session) if found.spreads else (),
            known=found.known,
            retry_with=retry_within_rules(translated, found.rules),
            warnings=warnings,
            before_end=translated.before_end,
        )
        if tools is None:
            return plan
        body_of = partial(translated_body, translated, rules=found.rules)
        return _with_tools(
            plan, tools, body_of, retry_within_rules(translated, found.rules, second=True)
        )

    def _find(self, route: Route, operation: Operation, reference: str, model: Model) -> _Found:
        """What serves the operation; found anew when the model or a setting has changed."""
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

    def _bound(self, runner: str, operation: Operation, model: Model) -> _Found:
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
    ) -> _Found:
        """How requests for an operation are met by runners of a key: whether they may find several
        instances to choose from, what is known of the model, and what is changed in them.
        """
        id, revision, known = str(model.id), self._keys.revision, known_model(model)
        if key.mode != BackendMode.COMPLETION:
            return _Found(model, id, revision, backend, mode, key, False, known, None)
        configuration = self._keys.configuration(key, id)
        rules = rules_for(configuration, model.description.modelfile, operation.name)
        spreads = self._keys.spreads(key)
        time = self._token_time(key)
        return _Found(model, id, revision, backend, mode, key, spreads, known, rules, time)

    def _token_time(self, key: RunnerKey) -> TokenTime:
        if key not in self._token_times and len(self._token_times) >= _REMEMBERED:
            self._token_times.clear()
        return self._token_times.setdefault(key, TokenTime())


_REMEDIES = {
    "audio": "model {} has no audio encoder; pull one with an audio projector,"
    " such as hf.co/ggml-org/ultravox-v0_5-llama-3_2-1b-GGUF"
}


def _check_needs(needs: tuple[str, ...], model: Model, reference: str) -> None:
    """Refuse what a request needs and a model cannot, in words that Ollama's clients look for."""
    for need in needs:
        if need not in model.capabilities:
            name = repr(reference[:120]).replace("'", '"')
            raise ClientError(f"{name} does not support {need}", param="model")


def _with_tools(
    plan: Plan,
    tools: ToolPlan,
    body_of: Callable[[ParsedRequest], tuple[Buffer, ...]],
    second: Retry | None = None,
) -> Plan:
    """The plan with a call that is forced, or with a second question where none comes."""
    again = None
    if tools.again is not None:
        again = msgspec.structs.replace(plan, body=body_of(tools.again), retry_with=second)
    return msgspec.structs.replace(
        plan,
        body=body_of(tools.request),
        translation=tools.wrap(plan.translation),
        assembles=plan.assembles and again is None,  # else its end would be waited for
        again=again,
    )


def _assembles(operation: Operation, fields: Inference, found: _Found) -> bool:
    """Whether a whole response is put together from a stream: only then a client that leaves is
    noticed.  For one token a stream would stop no sooner, and a quick engine has answered a short
    chat before that; log probabilities are mended in what is put together (`logprobs`).
    """
    if not (operation.assembles and found.backend.streams_to_cancel):
        return False
    if found.rules is not None or operation.name != "chat/completions":
        return True
    if half_characters_wanted(fields) is not None:
        return True
    limit, time = fields.token_limit(), found.token_time
    if limit == 1:
        return False
    if limit is None or time is None or has_schemas(fields):
        return True
    return not time.is_short(limit)
