"""Settings of what the daemon shows of itself."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from runnerd.setting_types import WebAddress


class SeeingSettings(BaseModel):
    """What is shown, to whom, and in which form."""

    metrics: Literal["users", "owners", "off"] = Field(
        "users",
        description="who may read /metrics: whoever may see all models, or owners alone",
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="lines of the log as text, or as one JSON object each"
    )
    traces: WebAddress = Field(
        "",
        description="an OpenTelemetry collector (OTLP over HTTP, such as http://127.0.0.1:4318)"
        " that gets a span of each request; empty for none; takes `runnerd[traces]`",
    )
