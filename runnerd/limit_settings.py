"""The settings of what a client may ask: how large, how long and how much of it at once."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from runnerd.setting_types import Bytes, Count, Seconds


class Limits(BaseModel):
    """What a client may ask of the daemon.  Sizes in bytes, times in seconds."""

    model_config = ConfigDict(extra="forbid")

    body_bytes: Bytes = Field(
        64 * 2**20, gt=0, description="one request body; the engine's own cap is 100 MB"
    )
    buffered_bytes: Bytes = Field(
        512 * 2**20, gt=0, description="all bodies held at once; beyond it, 429"
    )
    head_bytes: Bytes = Field(64 * 2**10, gt=0, description="one request head")
    headers: Count = Field(128, gt=0, description="header lines of a request")
    head_timeout: Seconds = Field(
        15.0, gt=0, description="from the first byte to the end of the head"
    )
    body_timeout: Seconds = Field(
        30.0, gt=0, description="in which `body_rate` is measured, again and again"
    )
    body_rate: Bytes = Field(
        1024, ge=0, description="bytes per second that a body comes with at least"
    )
    idle_timeout: Seconds = Field(75.0, gt=0, description="between two requests of a connection")
    stall_timeout: Seconds = Field(
        60.0, gt=0, description="a client that reads nothing of its response"
    )
    upstream_timeout: Seconds = Field(600.0, gt=0, description="an engine that sends nothing")
    connections: Count = Field(4096, gt=0, description="open client connections")
    requests_per_runner: Count = Field(
        1024, gt=0, description="at one engine at once, which has as many threads; beyond it, 429"
    )
    json_depth: int = Field(
        128, gt=0, le=1000, description="nesting of a body; deep ones crash the engine"
    )
    schema_bytes: Bytes = Field(64 * 2**10, gt=0, description="a grammar or a JSON schema")
    prompts: Count = Field(
        64, gt=0, description="entries of a prompt array; more starve other users"
    )
    inputs: Count = Field(
        2048, gt=0, description="texts to embed or rank in one request (OpenAI's cap)"
    )
    messages: Count = Field(
        4096,
        gt=0,
        description="messages of one chat; templates take time by the square of their number",
    )
    tools: Count = Field(
        1024, gt=0, description="tools of one chat; engines take time by the square of their number"
    )
    text_bytes: Bytes = Field(
        16 * 2**20,
        gt=0,
        description="one prompt, however long the context; a megabyte costs an engine 70 MB",
    )
    images: Count = Field(256, gt=0, description="images in one request")
    image_pixels: Bytes = Field(
        2**27,
        gt=0,
        description="of all images of a request; costly ones count up to three times",
    )
    audio_seconds: Seconds = Field(3600.0, gt=0, description="of all sounds of a request")
    num_ctx: int = Field(
        131072,
        gt=0,
        le=2**31 - 1,
        description="tokens of context that a request can have a model loaded with",
    )
