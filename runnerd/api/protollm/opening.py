"""Which desk the daemon has."""

from __future__ import annotations

import os

from runnerd.api.protollm.desks import Desk
from runnerd.api.protollm.embedded_desk import EmbeddedDesk
from runnerd.errors import StartupError
from runnerd.jobs.queue import Submission
from runnerd.protollm_settings import ProtollmSettings


def open_desk(settings: ProtollmSettings, queue: Submission) -> Desk:
    """The daemon's own queue, or RabbitMQ and Redis.  Raises errors.StartupError."""
    if not settings.broker:
        return EmbeddedDesk(queue)
    try:
        from runnerd.jobs.fleet.prompt_desk import PromptDesk
    except ImportError as error:
        raise StartupError(
            f"protollm.broker needs `pip install 'runnerd[fleet]'`: {error}"
        ) from error
    from runnerd.jobs.fleet.protollm import environment

    return PromptDesk(environment.read(os.environ))
