"""What owners configure per model, and the file that keeps it.

*Model configuration*: everything that can be set for one model, checked.
*Configurations*: all of them, in memory; changed one after the other.
*Configuration file*: what is on disk.
"""

from runnerd.configurations.configurations import Configurations
from runnerd.configurations.model_configuration import NAMED, ConfigurationKey, ModelConfiguration

__all__ = ["NAMED", "ConfigurationKey", "Configurations", "ModelConfiguration"]
