"""What somebody may submit: which model a name means, and how much of a head start a job has.

Both are looked up at the moment when they count, so that what an owner changes holds at once.
"""

from __future__ import annotations

from runnerd.access import Principal, Rules, by_any_key
from runnerd.config import Settings
from runnerd.jobs.job import MOST_PRIORITY
from runnerd.relay.visible_models import VisibleModels
from runnerd.supervisor.keys import Keys


class SubmissionRules:
    """A job is as good as its user, by any key: it may outlive the one that it came with."""

    def __init__(
        self, settings: Settings, policy: Rules, visible: VisibleModels, keys: Keys
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._visible = visible
        self._keys = keys

    def model_asked(self, principal: Principal, name: str) -> str:
        """The one spelling of a model.

        Raises errors.ModelNotFound where there is none for a principal, and none will be pulled.
        """
        if self._keys.backend(None).uses_external_model_management:
            return name
        models = self._visible.of(by_any_key(principal))
        if not self._settings.auto_pull:
            models.get(name)
        return models.spelling(name)

    def most_priority(self, principal: Principal) -> int:
        """How much of a head start whoever submits a job may have, as it stands now."""
        user = by_any_key(principal)
        if self._policy.sees_everything(user):
            return MOST_PRIORITY
        return self._policy.limits(user).priority
