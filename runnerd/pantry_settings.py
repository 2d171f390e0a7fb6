"""Settings of Pantry's API, beside what is always there: its calls on the daemon's listeners."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from runnerd.setting_types import SocketMode


class PantrySettings(BaseModel):
    """Where Pantry's programs look for it, and who becomes a user."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool = Field(
        False, description="listen also where Pantry's programs look: `socket` and `listen`"
    )
    socket: Path = Field(Path("/tmp/pantrylocal.sock"), description="Pantry's Unix socket")
    socket_mode: SocketMode = Field(0o666, description="mode of Pantry's Unix socket")
    listen: str = Field(
        "127.0.0.1:9404",
        description="HOST:PORT for Pantry's TCP; empty for none; the original listens on every"
        " address, which takes here what it takes of `listen`",
    )
    registration: bool = Field(
        True, description="whoever reaches the daemon can register as a user that may nothing yet"
    )
    bare_models: Annotated[Path | None, BeforeValidator(lambda said: said or None)] = Field(
        None,
        description="folder for the files of bare models, which others have to be able to enter;"
        " default STATE_DIR/bare",
    )
