"""Which queues of the broker a client may put prompts into.

A name that is no queue's would make one that lasts and that no worker takes from.  And a queue
means a model, as the name in a prompt does: who was granted some models reaches no others by them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from runnerd.errors import ModelNotFound

MOST_LETTERS = 200  # of a queue's name; RabbitMQ has 255 bytes


def check_queue(
    queue: str,
    named: str | None,
    *,
    queues: Mapping[str, str],
    published: Collection[str],
    is_model: bool,
    may_use: Callable[[str], bool] | None,
) -> None:
    """Raise errors.ModelNotFound for a queue, or a model, that there is not for a client.

    `queues` are the models that queues mean by the settings, `published` the queues that there are
    without that; `is_model`: one that is here for the client is called so.  `may_use` says of a
    name whether the client may use it; None: it may use all.
    """
    if queue not in queues and queue not in published and not is_model:
        raise ModelNotFound(
            f"there is no queue {queue[:MOST_LETTERS]!r}; an owner names them in protollm.queues",
            param="queue_name",
        )
    if may_use is None:
        return
    meant = queues.get(queue) or (None if queue in published else queue)
    for name, param in ((named, "model"), (meant, "queue_name")):
        if name and not may_use(name):
            raise ModelNotFound(f"no model is here that is called {name[:200]!r}", param=param)
    if meant is None:  # a worker would take whichever model its host has
        raise ModelNotFound(
            f"the queue {queue!r} is for no model of yours; name another queue_name",
            param="queue_name",
        )
