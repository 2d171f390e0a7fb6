"""llama.cpp as a backend: its own server first, llama-cpp-python's where there is no other.

*Native server*: `llama-server`, the C++ program, one process with slots for parallel requests.
*Fallback*: `llama_cpp.server` in a Python child, one request at a time.
*Runtime flags*: what an owner may add to the command line; an allow-list, never passed as typed.

The backend is imported when it is asked for: the command line takes the installer's options from
this room, and `runnerd --help` waits for nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runnerd.backends.llamacpp.backend import LlamaCppBackend

__all__ = ["LlamaCppBackend"]


def __getattr__(name: str) -> object:
    if name == "LlamaCppBackend":
        from runnerd.backends.llamacpp.backend import LlamaCppBackend

        return LlamaCppBackend
    raise AttributeError(name)
