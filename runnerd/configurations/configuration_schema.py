"""The fields of a model's configuration as JSON Schema, each with its help, for forms."""

from __future__ import annotations

from functools import cache
from typing import Any

from runnerd.backends.configuration import BackendConfiguration
from runnerd.configurations.model_configuration import ModelConfiguration

_ASKING = frozenset({"completion_defaults", "forced_parameters", "stripped_parameters"})


@cache
def configuration_schema() -> dict[str, Any]:
    """The schema; each property's `group` says what it changes.

    `starting` is what the engine is started with, so that a change unloads the model, `keeping` how
    long and how often it is loaded, `asking` how completions are changed.
    """
    schema = ModelConfiguration.model_json_schema(by_alias=True)
    for name, field in ModelConfiguration.model_fields.items():
        said = schema["properties"][field.alias or name]
        if name in BackendConfiguration.model_fields:
            said["group"] = "starting"
        else:
            said["group"] = "asking" if name in _ASKING else "keeping"
    return schema
