"""Bodies that are larger than a route of the control plane takes: 413, wherever they are sent."""

from __future__ import annotations

import pytest

from tests.support.daemon import JSON, DaemonProcess


@pytest.mark.parametrize(
    "path",
    ["/runnerd/jobs", "/remotejobs/v2/jobs", "/runnerd/users", "/models/import", "/models/create"],
)
def test_a_large_body(unchanged: DaemonProcess, path: str) -> None:
    """One byte less is read, and refused for what is in it."""
    long = b'{"model":"' + b"x" * (2**20 - 12) + b'"}'
    assert len(long) == 2**20
    headers = {**JSON, "Content-Type": "application/json"}
    large = unchanged.http.post(path, content=long + b" ", headers=headers)
    assert large.status_code == 413, large.text
    assert "exceeds 1048576 bytes" in large.text
    fits = unchanged.http.post(path, content=long, headers=headers)
    assert fits.status_code in (400, 404), fits.text[:200]
