"""What owners configure per model, and the file that keeps it.

*Model configuration*: everything that can be set for one model, checked.
*Configurations*: all of them, in memory; changed one after the other.
*Configuration file*: what is on disk.
*Configuration schema*: the fields that there are, with their help.
"""

from runnerd.configurations.configuration_schema import configuration_schema
from runnerd.configurations.configurations import Configurations
from runnerd.configurations.model_configuration import NAMED, ConfigurationKey, ModelConfiguration

__all__ = [
    "NAMED",
    "ConfigurationKey",
    "Configurations",
    "ModelConfiguration",
    "configuration_schema",
]
