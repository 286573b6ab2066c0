"""What every room's tests share: where their files are, the Hypothesis profile, the clock and a PostgreSQL server."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests import memory_folder
from tests.fakes.clock import StoppedClock
from tests.postgres.server import running_server

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from tests.postgres.server import PostgresServer

# A busy machine is slow, not wrong: no deadline per example, and no verdict on how long drawing one took.
settings.register_profile(
    "hsmkms", deadline=None, max_examples=100, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("hsmkms")

_FAILED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Put the files of the normal run into memory, unless TMPDIR says where; the long tests have theirs on the disk."""
    is_worker = hasattr(config, "workerinput")
    if is_worker or config.option.markexpr != "not torture" or "TMPDIR" in os.environ:
        return
    if folder := memory_folder.make():
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
        atexit.register(_finish_with, folder, config)  # the first to be registered is the last to be called


def _finish_with(folder: Path, config: pytest.Config) -> None:
    if not config.stash.get(_FAILED, False):
        shutil.rmtree(folder)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_FAILED] = exitstatus == pytest.ExitCode.TESTS_FAILED


def pytest_report_header(config: pytest.Config) -> str:
    return f"files in: {tempfile.gettempdir()}"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import and collect without the garbage collector, which finds no garbage in what stays until the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server for the tests of this process, started when the first of them asks for it."""
    with running_server() as server:
        yield server
