"""Where settings come from beside flags: environment variables and a TOML file.

An environment variable holds text, and a setting may be a list or a table.  So a list is written
with commas or as JSON, a table as `name=value,...` or as JSON, and a variable that is set to
nothing counts as not set, as Compose files and service managers leave them.  Whatever is wrong
becomes a StartupError that names the variable or the file.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from pathlib import Path
from typing import Any, ClassVar, get_origin

from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsError,
)

from runnerd.errors import StartupError
from runnerd.regular import read

_FILE_BYTES = 2**20  # of a settings file


class EnvironmentVariables(EnvSettingsSource):
    """`RUNNERD_<NAME>` for every setting, `RUNNERD_<TABLE>__<NAME>` for what lies in a table."""

    MAY_BE_EMPTY: ClassVar = frozenset({"listen"})  # where nothing is something else than not set

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls, env_ignore_empty=True)

    def __call__(self) -> dict[str, Any]:
        try:
            found = super().__call__()
        except SettingsError as error:
            raise StartupError(f"wrong settings:\n  {error.__cause__}") from error
        for name in self.MAY_BE_EMPTY:
            if os.environ.get(self._variable(name)) == "":
                found[name] = ""
        return found

    def decode_complex_value(self, field_name: str, field: FieldInfo | None, value: Any) -> Any:
        """Turn the text of a list or a table into one.  Raises ValueError."""
        kind = None if field is None else get_origin(field.annotation)
        if kind is list:
            return split_list(value)
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            if kind is dict and not value.lstrip().startswith("{"):
                return _pairs(self._variable(field_name), value)
            raise ValueError(f"{self._variable(field_name)}: this is not JSON: {error}") from error

    def _variable(self, name: str) -> str:
        return f"{self.env_prefix}{name}".upper()


class SettingsFile(PydanticBaseSettingsSource):
    """The file that RUNNERD_CONFIG names; a flag's value is put there."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        raise AssertionError("the whole file is read at once")

    def __call__(self) -> dict[str, Any]:
        name = os.environ.get("RUNNERD_CONFIG")
        if not name:
            return {}
        try:
            content = read(Path(name), most=_FILE_BYTES, follow=True)
            return tomllib.loads(content.decode("utf-8-sig"))  # editors may add a byte-order mark
        except OSError as error:
            raise StartupError(f"cannot read the settings file {name}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise StartupError(f"the settings file {name} is not UTF-8 text") from error
        except (ValueError, RecursionError) as error:
            raise StartupError(f"the settings file {name} is not valid TOML: {error}") from error


_OTHERS = frozenset({
    "RUNNERD_CONFIG", "RUNNERD_HOST", "RUNNERD_KEY", "RUNNERD_CLIENT_KEY", "RUNNERD_DEBUG",
    "RUNNERD_NOHISTORY", "RUNNERD_LLAMA_CPP", "RUNNERD_CPU_FLAGS", "RUNNERD_CMAKE_ARGS",
    "RUNNERD_AMQP_URL", "RUNNERD_REDIS_URL",
})  # fmt: skip
"""Variables of ours that are no settings."""
_OF_TESTS = "RUNNERD_TEST_"


def unknown_variables(settings: type[BaseSettings]) -> list[str]:
    """What is said of each variable that begins as a setting's and is none, with what is near.

    A misspelt one would have no effect, and nobody would hear of it.
    """
    tables = tuple(
        f"RUNNERD_{name}__".upper()
        for name, field in settings.model_fields.items()
        if isinstance(field.annotation, type) or get_origin(field.annotation) is dict
    )
    known = {f"RUNNERD_{name}".upper() for name in settings.model_fields} | _OTHERS
    said = []
    for name in sorted(os.environ):
        if not name.upper().startswith("RUNNERD_") or name.startswith(_OF_TESTS):
            continue
        if name.upper() in known or name.upper().startswith(tables):
            continue
        words = [each.removeprefix("RUNNERD_") for each in known]
        near = difflib.get_close_matches(name.upper().removeprefix("RUNNERD_"), words, 1)
        meant = f"; is RUNNERD_{near[0]} meant?" if near else "; `runnerd settings` lists them"
        said.append(f"{name[:100]} is set, and there is no such setting{meant}")
    return said


def split_list(text: str) -> list[Any]:
    """Return the entries of a list that is written as JSON or with commas, without quotes."""
    if text.lstrip().startswith("["):  # or an IPv6 address
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            pass
        else:
            return list(found)
    entries = (entry.strip().strip("\"'") for entry in text.split(","))
    return [entry for entry in entries if entry]


def _pairs(variable: str, text: str) -> dict[str, str]:
    """Return the table that `name=value,...` says.  Raises ValueError."""
    found = {}
    for entry in split_list(text):
        name, equals, value = str(entry).partition("=")
        if not (equals and name.strip() and value.strip()):
            raise ValueError(f"{variable}: write it as NAME=VALUE,... or as a JSON object")
        found[name.strip()] = value.strip()
    return found
