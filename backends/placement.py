"""On which devices a model is to lie, in words that need no knowledge of an engine's flags."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_Gpu = Annotated[int, Field(strict=True, ge=0, le=63)]
_Share = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class Placement(BaseModel):
    """Where a model lies.

    `devices` is `auto` (the engine fits it to what is free), `cpu`, or numbers of GPUs as `runnerd
    ps` shows them (gpu0 is 0).  `layers` is how many of its layers lie there at most, `split` how
    they are divided among several GPUs, `shares` in which proportions, and `main` the number of the
    GPU that has what is not divided.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    devices: Annotated[
        Literal["auto", "cpu"] | Annotated[tuple[_Gpu, ...], Field(min_length=1)],
        Field(description='"auto", "cpu", or numbers of GPUs: [0] or [0, 1].'),
    ] = "auto"
    layers: Annotated[
        int | None,
        Field(strict=True, ge=0, le=10000, description="Layers on GPUs, at most."),
    ] = None
    split: Annotated[
        Literal["none", "layer", "row"] | None,
        Field(description="How it is divided among several GPUs."),
    ] = None
    shares: Annotated[
        tuple[_Share, ...],
        Field(max_length=64, description="In which proportions, one number for each GPU: [3, 1]."),
    ] = ()
    main: Annotated[_Gpu | None, Field(description="The GPU that has what is not divided.")] = None

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.devices == "cpu" and (self.layers or self.split or self.shares or self.main):
            raise ValueError("cpu leaves nothing to divide")
        if isinstance(self.devices, tuple):
            if len(set(self.devices)) < len(self.devices):
                raise ValueError("a GPU is named twice")
            if self.shares and len(self.shares) != len(self.devices):
                raise ValueError("shares are as many as devices")
            if self.main is not None and self.main not in self.devices:
                raise ValueError("main is one of devices")
        elif self.main is not None:
            raise ValueError("main needs devices to be numbers")
        return self
