"""The host's memory, as it is now: RAM and each GPU, and what a process holds of them.

host    devices and processes
ram     what is free of RAM, within the control group that we live in
gpus    NVIDIA's devices, through the driver's own library
activity   what the threads of a process compute
spare      memory that the daemon has freed, given back to the system
"""

from runnerd.resources.host import Device, Host

__all__ = ["Device", "Host"]
