"""ProtoLLM's variables."""

from __future__ import annotations

import pytest

from runnerd.errors import InvalidConfiguration
from runnerd.jobs.fleet.protollm.environment import read


def test_the_documented_example() -> None:
    """The .env file of its documentation, as it is."""
    found = read(
        {
            "REDIS_HOST": "redis",
            "REDIS_PORT": "6379",
            "RABBIT_MQ_HOST": "rabbitmq",
            "RABBIT_MQ_PORT": "5672",
            "RABBIT_MQ_LOGIN": "admin",
            "RABBIT_MQ_PASSWORD": "ad/min",
            "QUEUE_NAME": "test",
            "REDIS_PREFIX": "p",
            "INNER_LLM_URL": "unused",
        }
    )
    assert found.amqp_url == "amqp://admin:ad%2Fmin@rabbitmq:5672/"
    assert found.redis_url == "redis://redis:6379/0"
    assert (found.queue, found.keys.prefix, found.keys.status_prefix) == ("test", "p", "job-status")


def test_nothing_said() -> None:
    """There is a default for everything."""
    found = read({"RUNNERD_AMQP_URL": "amqps://x/", "RUNNERD_REDIS_URL": "rediss://y"})
    assert (found.amqp_url, found.redis_url) == ("amqps://x/", "rediss://y")
    assert (found.queue, found.base_priority, found.answer_timeout) == ("llm-api-queue", 1, 300.0)


@pytest.mark.parametrize("said", ["x", "-1", "0", "70000", "1" * 400, "१"])
def test_no_port(said: str) -> None:
    """The variable is named."""
    with pytest.raises(InvalidConfiguration, match="REDIS_PORT"):
        read({"REDIS_PORT": said})
