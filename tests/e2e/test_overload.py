"""One account asks for far more than there is: the others, and whoever watches over the service, hardly notice."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.hsm.seats import MOST_AHEAD
from hsmkms.service.admission import IN_PROCESS, MOST_WAITING, PATIENCE_SECONDS
from tests.e2e.crowd import Crowd
from tests.e2e.running import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.running import RunningService

pytestmark = pytest.mark.parametrize("service", ["softhsm"], indirect=True)

BUSY: Final = "UnsupportedOperation.ServiceTemporaryUnavailable"
TOO_MANY: Final = 100
"""How many of the crowd find the line full."""
PROMPTLY_SECONDS: Final = 3.0
"""For what is answered in milliseconds on a quiet machine; tests run on busy ones."""
MOST_GROWTH_KIB: Final = 64 * 1024


def hosts_of(service: RunningService) -> int:
    return len(service.serving_hosts())


@contextmanager
def slow_token(service: RunningService) -> Iterator[None]:
    """Let no call to the token come to its end within the block, which must be shorter than a call may take."""
    hosts = service.serving_hosts()
    for pid in hosts:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in hosts:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def crowd_of(service: RunningService, number: int, key_id: str) -> Iterator[tuple[Crowd, threading.Thread]]:
    """Have a thread in which so many connections of the instance's own account encrypt, and wait for its end."""
    crowd = Crowd(service.endpoint)
    members = {"KeyId": key_id, "Plaintext": base64.b64encode(bytes(3000)).decode()}
    asking = crowd.ask(number, service.instance.credential(), "Encrypt", members)
    thread = threading.Thread(target=asyncio.run, args=(asking,))
    try:
        yield crowd, thread
    finally:
        thread.join()


def resident_kib(service: RunningService) -> int:
    (web,) = service.pids("web")
    status = Path(f"/proc/{web}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def test_what_is_too_much_is_refused_at_once_and_others_are_served_in_their_turn(service: RunningService) -> None:
    client, other = service.client(), service.client(service.instance.another_credential(f"b-{secrets.token_hex(3)}"))
    key_id, others_key = client.generated_key(), other.generated_key()
    assert client.encrypt(key_id, b"x"), "both have used a key before"
    assert other.encrypt(others_key, b"x")
    before = resident_kib(service)
    room = hosts_of(service) + IN_PROCESS + MOST_WAITING
    served: list[float] = []

    def encrypt() -> None:
        other.encrypt(others_key, b"y")
        served.append(time.monotonic())

    turn = threading.Thread(target=encrypt)
    with crowd_of(service, room + TOO_MANY, key_id) as (crowd, asking):
        with slow_token(service):
            asking.start()
            started = time.monotonic()
            most = range(TOO_MANY - hosts_of(service) * MOST_AHEAD, TOO_MANY + 1)  # a fast token has more room
            until(lambda: crowd.codes()[BUSY] in most, "what finds no room is refused", PATIENCE_SECONDS - 1)
            assert set(crowd.codes()) == {BUSY}
            turn.start()
            for path in ("/healthz", "/readyz"):
                asked = time.monotonic()
                assert service.get(path)[0] == 200, path
                assert time.monotonic() - asked < PROMPTLY_SECONDS
            asked = time.monotonic()
            assert other.state(others_key) == "Enabled", "what needs no token does not wait for it"
            assert time.monotonic() - asked < PROMPTLY_SECONDS
            assert not served
            assert time.monotonic() - started < PATIENCE_SECONDS - 1, "the machine is too slow for this test"
        turn.join()
        granted_before = [when for when, code in crowd.answers if code == "OK" and when < served[0]]
    assert len(granted_before) < MOST_WAITING // 2, "it was not behind all who came before"
    assert crowd.codes()["OK"] > MOST_WAITING // 2, "the control: they had waited, and were served"
    assert set(crowd.codes()) <= {BUSY, "OK"}
    assert resident_kib(service) - before < MOST_GROWTH_KIB


def test_a_flood_of_invented_access_ids_keeps_nobody_known_from_his_work(
    service: RunningService,
) -> None:
    client = service.client()
    key_id = client.external_key()
    crowd = Crowd(service.endpoint)

    async def flood() -> None:
        invented = ({"secret_id": f"AKID{secrets.token_hex(16)}", "secret_key": "x"} for _ in range(300))
        await asyncio.gather(*(crowd.ask(1, keys, "GetRegions", {}) for keys in invented))

    thread = threading.Thread(target=asyncio.run, args=(flood(),))
    thread.start()
    seconds = []
    while thread.is_alive():
        started = time.monotonic()
        assert client.state(key_id) == "PendingImport"
        assert service.get("/readyz")[0] == 200
        seconds.append(time.monotonic() - started)
    thread.join()
    assert set(crowd.codes()) <= {"AuthFailure.SecretIdNotFound", BUSY}
    assert min(crowd.codes()["AuthFailure.SecretIdNotFound"], crowd.codes()[BUSY]) > 0, "some are looked up, not all"
    assert max(seconds, default=0) < PROMPTLY_SECONDS
