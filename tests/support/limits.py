"""A limit for each part of a test: what it sets up, the test itself, what it takes down.

pytest-timeout's own limit for a whole test also ends between those parts, where nothing but xdist's
worker is there to fail; `timeout_func_only` keeps it within the test itself, and this is the rest.
An alarm cannot end code in C that never returns: after a longer time the process tells where each
of its threads is, and ends; xdist fails that one test, and starts another worker.
"""

from __future__ import annotations

import faulthandler
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest
import pytest_timeout
from _pytest.faulthandler import fault_handler_stderr_fd_key

_PARTS = 3  # each may take the limit
_SPARE = 30.0  # seconds for what is told of a part that has failed


@contextmanager
def _limited(item: pytest.Item) -> Iterator[None]:
    settings = pytest_timeout._get_item_settings(item)
    if not settings.timeout:
        yield
        return
    hooks = item.config.pluginmanager.hook
    hooks.pytest_timeout_set_timer(item=item, settings=settings)
    try:
        yield
    finally:
        hooks.pytest_timeout_cancel_timer(item=item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Limit what is set up for a test."""
    with _limited(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Limit what is taken down after a test."""
    with _limited(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """End the process if no alarm has ended a test."""
    limit = pytest_timeout._get_item_settings(item).timeout
    if not limit:
        return (yield)
    told = item.config.stash[fault_handler_stderr_fd_key]
    faulthandler.dump_traceback_later(_PARTS * limit + _SPARE, file=told, exit=True)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()
