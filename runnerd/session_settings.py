"""How long conversations are kept, and how many of each user's."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from runnerd.setting_types import Bytes, Count, Seconds

_DAY = 24 * 3600.0


class SessionSettings(BaseModel):
    """Sizes in bytes, times in seconds.  Each session, response and conversation says when it ends;
    a change counts for those that are used afterwards.
    """

    model_config = ConfigDict(extra="forbid")

    expire_after: Seconds = Field(
        30 * _DAY, gt=0, description="a session that was not used for so long is removed"
    )
    warn_before: Seconds = Field(
        2 * _DAY, ge=0, description="a session that is removed within this time says so"
    )
    per_user: Count = Field(
        1000, gt=0, description="sessions of one user; a new one removes the one used longest ago"
    )
    bytes_per_user: Bytes = Field(
        64 * 2**20, gt=0, description="text of all sessions of one user; as above"
    )
    responses_expire_after: Seconds = Field(
        30 * _DAY, gt=0, description="OpenAI's kept responses are removed after this"
    )
    response_bytes_per_user: Bytes = Field(
        64 * 2**20, gt=0, description="kept responses and conversations of one user, as above"
    )
