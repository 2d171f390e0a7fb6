"""Imports aioredis 2.0.1, which was written for Python up to 3.10, on later ones.

There asyncio's TimeoutError is the builtin one, and a class of both cannot be made.
"""

import asyncio

_real = asyncio.TimeoutError
asyncio.TimeoutError = type("TimeoutError", (Exception,), {})
import aioredis  # noqa: E402, F401

asyncio.TimeoutError = _real
