"""HTTP without TLS."""

from __future__ import annotations

import ssl

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For httpx' `verify`, which otherwise reads the authorities of the world for each client: 20 ms of
processor time.  It trusts nobody, so a client that meets TLS all the same says so.
"""
