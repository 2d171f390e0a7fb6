"""Models that draft for others: a pull brings one along, and the other is loaded with it.

What is pulled says nothing of how it is loaded, so the pull hands both over; what is written down
is an owner's configuration as any other, and can be changed as one.
"""

from __future__ import annotations

from collections.abc import Callable

from runnerd.backends.configuration import BackendMode
from runnerd.backends.model_files import ModelFiles
from runnerd.configurations import ConfigurationKey, Configurations
from runnerd.errors import InvalidModelFile
from runnerd.models.catalog import Model
from runnerd.supervisor.configuring import Configuring
from runnerd.supervisor.keys import Keys

_UNLIKE = 128  # tokens by which two vocabularies may differ in size, as llama.cpp has it


class Drafts:
    """Configures models to be loaded with their draft models.  `files_of` a model, by its id."""

    def __init__(
        self,
        configuring: Configuring,
        configurations: Configurations,
        keys: Keys,
        files_of: Callable[[str], ModelFiles],
    ) -> None:
        self._configuring = configuring
        self._configurations = configurations
        self._keys = keys
        self._files_of = files_of

    async def attach(self, model: Model, draft: Model) -> str:
        """Let a model be loaded with a draft model from now on; a sentence for who pulled them.

        What was configured before stays.  Raises errors.InvalidModelFile for one that cannot draft
        for the model, and as `Configuring.configure` does.
        """
        key = ConfigurationKey(self._keys.backend(None).name, str(model.id), BackendMode.COMPLETION)
        in_force, _ = self._configurations.effective(key.backend, key.model, key.mode)
        if (configured := in_force.speculative) is not None:
            return f"{model.name} will be loaded with {configured.draft_model}, as was configured"
        self._check(model, draft)
        await self._configuring.configure(key, {"speculative": {"draft_model": draft.name}})
        return (
            f"{model.name} will be loaded with {draft.name}, which drafts for it; `runnerd"
            f" configure {model.name} --unset speculative` ends that"
        )

    def _check(self, model: Model, draft: Model) -> None:
        facts, drafts = self._files_of(str(model.id)).facts, self._files_of(str(draft.id)).facts
        if drafts.drafts_as:
            return  # it was made for that, with a vocabulary as it needs one
        if abs(facts.vocabulary_size - drafts.vocabulary_size) > _UNLIKE:
            raise InvalidModelFile(
                f"it has {drafts.vocabulary_size} tokens, and the model {facts.vocabulary_size}"
            )
