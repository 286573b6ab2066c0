"""A PIN that somebody changes while the service runs is tried by one host, and at most once more if no answer came."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.running import Instance, RunningService
from tests.faults.hosts import until_every_host
from tests.faults.pkcs11_faults import Faults

if TYPE_CHECKING:
    from collections.abc import Iterator

UNUSABLE = 78
HOSTS = 2
REFUSED: Final = "refused the PIN; it was tried once"
UNANSWERED: Final = "the PIN was sent 2 times"


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningService, Faults]]:
    """A service with a key, on a token that goes wrong by rule."""
    folder = tmp_path_factory.mktemp("pin-changed")
    instance = Instance.make(folder / "softhsm")
    instance.replace("[hsm]\n", f"[hsm]\nhosts = {HOSTS}\n")
    faults = Faults.between(folder / "module", instance)
    running = RunningService(instance)
    running.start()
    try:
        yield running, faults
    finally:
        running.end()


@pytest.mark.parametrize(
    ("rule", "calls", "said"),
    [
        ("C_Login 0xa0 delay_ms=6000", 1, REFUSED),  # longer than a host may take to come to its login
        ("C_Login 0x30 after", 2, UNANSWERED),
    ],
)
def test_however_many_hosts_are_replaced(
    rule: str, calls: int, said: str, staged: tuple[RunningService, Faults]
) -> None:
    service, faults = staged
    until_every_host(service, HOSTS)
    key_id = service.client().external_key()
    with faults.ruled(rule) as ruling:
        for host in service.pids("host"):
            os.kill(host, signal.SIGKILL)
        assert service.process.wait(timeout=30) == UNUSABLE
    assert ruling.wrong == calls
    (sentence,) = [line for line in service.log.read_text().splitlines() if line.startswith("hsmkms: ")]
    assert said in sentence
    assert "Traceback" not in service.log.read_text()
    assert {json.loads(line)["level"] for line in service.log.read_text().splitlines() if line.startswith("{")}
    service.start()  # the PIN file has been put right
    assert service.client().state(key_id) == "PendingImport"


def test_the_first_host(staged: tuple[RunningService, Faults]) -> None:
    """Nobody has logged in yet: whoever is killed then says nothing of the PIN, and is not replaced for ever."""
    service, faults = staged
    service.end()
    with faults.ruled("C_Login kill") as ruling:
        service.start(ready=False)
        assert service.process.wait(timeout=30) == UNUSABLE
    assert ruling.wrong == 2
    assert UNANSWERED in service.log.read_text()
