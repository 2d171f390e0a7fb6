"""What is done when an owner accepts: as the owner's own pull, load and unload would be.

Of what a pull brings along beside the model that was asked for, who asked gets no more than its
grants have.
"""

from __future__ import annotations

import msgspec

from runnerd.access import Policy, Principal, by_any_key, user_principal
from runnerd.access.approvals import Approval, ApprovalKind
from runnerd.api.admin.approval_work import Doing
from runnerd.errors import Conflict
from runnerd.llms.downloads import Downloads
from runnerd.llms.entry import parse_entry
from runnerd.models.store import Store
from runnerd.pulls.asker import Asker
from runnerd.pulls.pulling import Pulls
from runnerd.relay.exchanges import Exchanges
from runnerd.relay.preloading import preload
from runnerd.relay.visible_models import VisibleModels
from runnerd.supervisor import Supervisor


class ApprovedActions:
    """Does it with the daemon's parts.  Each method returns once it was done, or raises why not."""

    def __init__(
        self,
        store: Store,
        policy: Policy,
        pulls: Pulls,
        supervisor: Supervisor,
        exchanges: Exchanges,
        downloads: Downloads,
    ) -> None:
        self._visible = VisibleModels(store, policy)
        self._pulls = pulls
        self._supervisor = supervisor
        self._exchanges = exchanges
        self._downloads = downloads

    def by_kind(self) -> dict[ApprovalKind, Doing]:
        """The methods, by what was asked for."""
        return {
            ApprovalKind.DOWNLOAD: self.download,
            ApprovalKind.LOAD: self.load,
            ApprovalKind.UNLOAD: self.unload,
        }

    async def download(self, approval: Approval, owner: Principal) -> None:
        """Pull a model, and keep the registry entry that it comes with, if it does."""
        details, user = approval.details, user_principal(approval.user_id, "")
        asker = Asker(owner, is_owner=True, accepted_for=by_any_key(user))
        if (said := details.get("entry")) is not None:
            entry = parse_entry(msgspec.json.encode(said))
            await self._downloads.wait(self._downloads.start(entry, asker))
            return
        subscription = self._pulls.pull(
            details["model"],
            revision=details.get("revision"),
            sha256=details.get("sha256"),
            tag=details.get("tag"),
            asker=asker,
        )
        await subscription.result()

    async def load(self, approval: Approval, owner: Principal) -> None:
        """Load a model."""
        models = self._visible.of(owner)
        await preload(self._exchanges, self._supervisor, models, owner, approval.details["model"])

    async def unload(self, approval: Approval, owner: Principal) -> None:
        """Unload a model.  Raises errors.Conflict where somebody uses it."""
        name: str = approval.details["model"]
        if not self._supervisor.keys.backend(None).uses_external_model_management:
            name = str(self._visible.of(owner).get(name).id)
        unloaded = await self._supervisor.unloading.unload(models={name})
        if unloaded.in_use:
            raise Conflict(
                "the model is in use; accept this again when it is idle, or end its requests with"
                " `runnerd unload --force`"
            )
