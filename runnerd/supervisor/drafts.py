"""Models that draft for others: a pull brings one along, and the other is loaded with it.

What is pulled says nothing of how it is loaded, so the pull hands both over; what is written down
is an owner's configuration as any other, and can be changed as one.  So whoever may not configure
models gets no draft model along, and nobody gets one whose name is not among its grants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from runnerd.access import Action, Policy
from runnerd.access.model_patterns import granted
from runnerd.backends.configuration import BackendMode, SpeculativeDecoding
from runnerd.backends.model_files import ModelFiles
from runnerd.configurations import ConfigurationKey, Configurations
from runnerd.errors import Forbidden, InvalidModelFile, PermissionMissing
from runnerd.models.model import Model
from runnerd.pulls.asker import Asker
from runnerd.supervisor.configuring import Configuring
from runnerd.supervisor.keys import Keys

_UNLIKE = 128  # tokens by which two vocabularies may differ in size, as llama.cpp has it


class Drafts:
    """Configures models to be loaded with their draft models: a `pulls.draft_choice.Drafting`.
    `files_of` a model, by its id; `id_of` a name that a model has.
    """

    def __init__(
        self,
        configuring: Configuring,
        configurations: Configurations,
        keys: Keys,
        files_of: Callable[[str], ModelFiles],
        id_of: Callable[[str], str | None],
        policy: Policy,
    ) -> None:
        self._configuring = configuring
        self._configurations = configurations
        self._keys = keys
        self._files_of = files_of
        self._id_of = id_of
        self._policy = policy

    def check(self, asker: Asker, tag: str) -> None:
        """Raise errors.Forbidden or Unauthorized unless a pull of `asker` may bring a draft model
        with this tag along.
        """
        for who in (asker.principal, asker.accepted_for):
            grants = None if who is None else self._policy.grants(who)
            if grants is not None and not granted(grants, (tag,)):
                raise Forbidden(f"{tag} is none of the models that were granted")
        try:
            self._policy.check(asker.principal, Action.CONFIGURE_MODEL)
        except PermissionMissing as error:
            raise Forbidden(
                "how models are loaded is for owners to say; to have it all the same:"
                f" `runnerd pull {tag}`"
            ) from error

    async def attach(self, model: Model, draft: Model, *, new: bool) -> str:
        """Let a model be loaded with a draft model from now on; a sentence for who pulled them.

        A draft that is `new`, or came along with another model, goes with the last one that it
        drafts for.  What was configured before stays.  Raises errors.InvalidModelFile for one
        that cannot draft for the model, and as `Configuring.configure` does.
        """
        key = self._key(str(model.id))
        if (configured := self.of(key.model)) is not None:
            return f"{model.name} will be loaded with {configured.draft_model}, as was configured"
        self._check(model, draft)
        goes = new or any(each.goes_along for each in self._uses(str(draft.id)))
        along = {"goes_along": True} if goes else {}
        said = {"draft_model": draft.name, **along}
        await self._configuring.configure(key, {"speculative": said})
        return (
            f"{model.name} will be loaded with {draft.name}, which drafts for it; `runnerd"
            f" configure {model.name} --unset speculative` ends that"
        )

    def of(self, model: str) -> SpeculativeDecoding | None:
        """What is configured of the draft of a model (its id)."""
        in_force, _ = self._configurations.effective(*self._key(model))
        return in_force.speculative

    def is_used(self, draft: str) -> bool:
        """Whether a model (its id) drafts for another one."""
        return any(self._uses(draft))

    def _uses(self, draft: str) -> Iterator[SpeculativeDecoding]:
        for key, configuration in self._configurations.list():
            said = configuration.speculative
            if said is not None and key.model != draft and self._id_of(said.draft_model) == draft:
                yield said

    def _key(self, model: str) -> ConfigurationKey:
        return ConfigurationKey(self._keys.backend(None).name, model, BackendMode.COMPLETION)

    def _check(self, model: Model, draft: Model) -> None:
        facts, drafts = self._files_of(str(model.id)).facts, self._files_of(str(draft.id)).facts
        if drafts.drafts_as:
            return  # it was made for that, with a vocabulary as it needs one
        if abs(facts.vocabulary_size - drafts.vocabulary_size) > _UNLIKE:
            raise InvalidModelFile(
                f"it has {drafts.vocabulary_size} tokens, and the model {facts.vocabulary_size}"
            )
