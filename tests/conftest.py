"""Fixtures of all tests: real processes on loopback, ended with the test that started them.

SENTINEL_PROGRAM names another sentinel to run the same scenarios against, for example
`SENTINEL_PROGRAM=redis-sentinel scripts/test tests/e2e`.
"""

import os
import shlex
import signal

import pytest

from sentinel_py.local import LocalError, Sandbox, redis_server, sentinel_program

LOG_LINES_SHOWN = 30


def pytest_configure():
    # A test run that is told to end unwinds like one that Ctrl-C ends: fixtures stop processes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Show what the processes of a failed test have printed."""
    report = yield
    box = getattr(item, "funcargs", {}).get("sandbox")
    if box and call.excinfo and not call.excinfo.errisinstance(pytest.skip.Exception):
        for server in box.servers:
            tail = "\n".join(server.log.splitlines()[-LOG_LINES_SHOWN:])
            report.sections.append((f"{server.name} on {server.address}", tail))
    return report


@pytest.fixture
def sandbox():
    """Ports, files and processes of one test."""
    try:
        redis_server()
    except LocalError as error:
        pytest.skip(str(error))
    with Sandbox() as box:
        yield box


@pytest.fixture(scope="session")
def program():
    """The sentinel under test, as the beginning of its argv."""
    return shlex.split(os.environ.get("SENTINEL_PROGRAM", "")) or sentinel_program()
