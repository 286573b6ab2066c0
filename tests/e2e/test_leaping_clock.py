"""A service whose wall clock is set a month ahead, and right again: it refuses meanwhile, and has lost nothing."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.running import Instance, RunningService, until
from tests.faults.pkcs11_faults import compiled

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY: Final = 86_400
SOURCE: Final = Path(__file__).with_name("leaping_clock.c")


class Ahead:
    """How far ahead of the machine's the service's wall clock is."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "ahead"
        self.set(0)
        library = compiled(SOURCE, folder / "leaping_clock.so")
        self.env = {"LD_PRELOAD": str(library), "LEAPING_CLOCK": str(self._file)}

    def set(self, seconds: int) -> None:
        # Written in place: the service has mapped this file.
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(seconds.to_bytes(8, "little", signed=True))


@contextlib.contextmanager
def serving(instance: Instance, env: dict[str, str]) -> Iterator[RunningService]:
    service = RunningService(instance)
    service.start(env=env)
    try:
        yield service
    finally:
        service.end()


def leaps(service: RunningService) -> list[int]:
    """Return the leaps that the service said it saw, in seconds."""
    lines = [line for line in service.log_lines() if line["event"].startswith("the wall clock leapt")]
    assert all((line["level"], line["process"]) == ("error", "web") for line in lines)
    return [line["seconds"] for line in lines]


def ticket_states(instance: Instance, key_id: str) -> set[str]:
    with contextlib.closing(sqlite3.connect(instance.database, timeout=10)) as database:
        return {str(row[0]) for row in database.execute("SELECT state FROM tickets WHERE key_id = ?", (key_id,))}


def test_a_wall_clock_set_ahead_destroys_nothing(tmp_path: Path) -> None:
    ahead = Ahead(tmp_path)
    instance = Instance.make(tmp_path / "instance")
    with serving(instance, ahead.env) as service:
        client = service.client()
        expiring, deleted, waiting = (client.external_key() for _ in range(3))
        client.bring(expiring, secrets.token_bytes(32), valid_to=int(time.time()) + DAY)
        client.bring(deleted, secrets.token_bytes(32))
        ciphertexts = {key_id: client.encrypt(key_id, key_id.encode()) for key_id in (expiring, deleted)}
        client.disable(deleted)
        client.schedule_deletion(deleted)
        client.parameters(waiting)

        ahead.set(30 * DAY)
        until(lambda: leaps(service), "the leap is seen")
        # What can be had again is not spared: where this is gone, a pass with the wrong clock has been.
        until(lambda: ticket_states(instance, waiting) == {"lapsed"}, "a pass by the wrong clock")
        assert client.code("DescribeKey", KeyId=expiring) == "AuthFailure.SignatureExpire", "the control"

        ahead.set(0)
        until(lambda: len(leaps(service)) > 1, "the clock is right again")
        client.cancel_deletion(deleted)
        client.enable(deleted)
        for key_id, ciphertext in ciphertexts.items():
            assert client.decrypt(ciphertext) == key_id.encode()
        # To the second, but for what the clock is slewed by in between.
        assert leaps(service) == [pytest.approx(30 * DAY, abs=2), pytest.approx(-30 * DAY, abs=2)]
