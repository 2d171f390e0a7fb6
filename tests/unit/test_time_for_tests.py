"""A test that takes too long fails alone, wherever it hangs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import SECONDS

_PLUGIN = """\
from tests.support import limits

limits._PARTS, limits._SPARE = 1, 1.0

def pytest_configure(config):
    config.pluginmanager.register(limits)
"""
_TESTS = """\
import ctypes
import signal
import time

import pytest

@pytest.fixture
def slow_to_come():
    time.sleep(600)

@pytest.fixture
def slow_to_go():
    yield
    time.sleep(600)

def test_setup(slow_to_come):
    pass

def test_itself():
    time.sleep(600)

def test_teardown(slow_to_go):
    pass

def test_in_c():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})  # no call ends early
    ctypes.PyDLL(None).poll(None, 0, 600_000)

def test_good():
    pass
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of its own whose tests have a second for each part."""
    (tmp_path / "conftest.py").write_text(_PLUGIN)
    (tmp_path / "test_them.py").write_text(_TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntimeout = 1\ntimeout_func_only = true\n")
    return tmp_path


def _said(project: Path, *arguments: str) -> str:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-rA",
        f"--rootdir={project}",
        "-p",
        "pytest_timeout",
    ]
    ran = subprocess.run(
        [*command, *arguments, str(project)],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=project,
        capture_output=True,
        text=True,
        timeout=100 * SECONDS,
    )
    return f"{ran.stdout}{ran.stderr}"


def test_each_part_fails_alone(project: Path) -> None:
    said = _said(project, "-k", "not test_in_c")
    assert "ERROR test_them.py::test_setup - Failed: Timeout" in said
    assert "FAILED test_them.py::test_itself - Failed: Timeout" in said
    assert "ERROR test_them.py::test_teardown - Failed: Timeout" in said
    assert "PASSED test_them.py::test_good" in said


def test_what_hangs_in_c_ends_its_worker_and_no_other_test(project: Path) -> None:
    said = _said(project, "-p", "xdist", "-n", "1", "-k", "test_in_c or test_good")
    assert "crashed while running 'test_them.py::test_in_c'" in said
    assert "Timeout (" in said
    assert "in test_in_c" in said  # where it was
    assert "PASSED test_them.py::test_good" in said
