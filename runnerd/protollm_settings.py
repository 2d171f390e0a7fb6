"""The settings of ProtoLLM's API."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from runnerd.setting_types import Seconds


class ProtollmSettings(BaseModel):
    """What `/generate`, `/chat_completion`, `/check_status` and `/embed` go by."""

    model_config = ConfigDict(extra="forbid")

    queues: dict[str, str] = Field(
        {}, description="the model that a `queue_name` means, where it is no model's name itself"
    )
    embedding_model: str = Field("", description="for /embed; empty: the only one that embeds")
    answer_timeout: Seconds = Field(
        300.0, gt=0, description="how long a call waits for its result before it says that it did"
    )
    at_once: bool = Field(
        False, description="calls return their job_id at once, and /check_status the result"
    )
    broker: bool = Field(
        False,
        description="prompts go to RabbitMQ and results come from Redis, for `runnerd worker` on"
        " other hosts; both are found by ProtoLLM's own variables (docs/fleet.md)",
    )
