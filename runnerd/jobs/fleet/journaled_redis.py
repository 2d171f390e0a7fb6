"""Redis, and the journal in RabbitMQ out of which it is made whole when it lacks something."""

from __future__ import annotations

from runnerd.jobs.fleet.job_index import JobIndex
from runnerd.jobs.fleet.journal import STREAM, Journal
from runnerd.jobs.fleet.publisher import Publisher
from runnerd.jobs.fleet.rebuilding import Rebuilding


class JournaledRedis:
    """The two of one site, with connections that are opened when they are needed."""

    def __init__(self, amqp_url: str, redis_url: str, stream: str = STREAM) -> None:
        self.redis_url = redis_url
        self._publisher = Publisher(amqp_url, "runnerd jobs")
        self.journal = Journal(amqp_url, self._publisher, stream)
        self.index = JobIndex(redis_url, Rebuilding(self.journal).run)

    async def close(self) -> None:
        """Close all connections."""
        await self._publisher.close()
        await self.index.close()
