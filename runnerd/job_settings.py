"""The settings of jobs: work that waits."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from runnerd.setting_types import Bytes, Count, Seconds


class JobSettings(BaseModel):
    """How jobs are kept and run.  Sizes in bytes, times in seconds."""

    model_config = ConfigDict(extra="forbid")

    fleet: bool = Field(
        False,
        description="jobs are in RabbitMQ and Redis, which several daemons share, and are run by"
        " `runnerd worker --jobs`; both are found by ProtoLLM's own variables (docs/fleet.md);"
        " takes a restart",
    )
    at_once: Count = Field(
        32, ge=0, description="jobs that the daemon works on at once; 0: it only keeps them"
    )
    patience: Seconds = Field(
        300.0,
        ge=0,
        description="jobs are worked on while nobody else is served or waits; where none got done"
        " for so long, one is run beside people; 0: jobs run beside people all the time",
    )
    idle_only: bool = Field(
        False, description="never work on jobs while somebody else is served or waits"
    )
    open: Count = Field(
        1_000_000, gt=0, description="jobs of one user that have not ended; beyond it, 429"
    )
    kept: Seconds = Field(
        7 * 86400.0, gt=0, description="jobs that have ended, and files of batches, are kept"
    )
    tries: Count = Field(4, gt=0, description="that may fail before a job has failed")
    bytes: Bytes = Field(
        2**32, ge=0, description="bytes of the prompts of one user's jobs, as long as they are kept"
    )
    result_bytes: Bytes = Field(
        2**32,
        ge=0,
        description="bytes of the output and responses of one user's jobs, as long as they are"
        " kept; beyond it jobs fail, and new ones get 429",
    )
    batches: Count = Field(
        1000, gt=0, description="batches of one user, as long as they are kept; beyond it, 429"
    )
    files: Bytes = Field(
        2**30, ge=0, description="bytes of all files that one user has uploaded for batches"
    )
