"""Records open for their owners only, and attempts and uses are counted whatever dies."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.database_file import attempts, pair_of, run, swap, uses_leased
from tests.e2e.running import Instance, hsmkms, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.running import RunningService
    from tests.e2e.tencent_client import TencentClient

MOST_ATTEMPTS: Final = 10
DECRYPT_ERROR: Final = "InvalidParameter.DecryptMaterialError"
TOKEN_EXPIRED: Final = "ResourceUnavailable.TokenExpired"
TEMPORARILY: Final = "UnsupportedOperation.ServiceTemporaryUnavailable"
SOFTWARE_ERROR: Final = 70
MOST_USES: Final = 2**31
PLAINTEXT: Final = b"a secret"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with a pair for each ticket, whose log counts what reaches the hosts."""
    instance = Instance.make(tmp_path_factory.mktemp("custody") / "instance", extra='\n[log]\nlevel = "debug"\n')
    with instance.serving() as running:
        yield running


@pytest.fixture
def client(served: RunningService) -> TencentClient:
    served.until_ready()
    return served.client()


def show(instance: Instance, key_id: str, expect: int = 0) -> str:
    """Return what `hsmkms key show` says on standard error."""
    done = hsmkms("key", "show", "--config", str(instance.config), key_id, "--json", expect=expect)
    assert bool(done.stdout) is (expect == 0)
    return done.stderr


def kill_the_web_process(served: RunningService) -> None:
    """Kill it, and wait for the next one."""
    (web,) = served.pids("web")
    os.kill(web, signal.SIGKILL)
    until(lambda: served.pids("web") not in ([], [web]), "the web process is replaced")
    served.until_ready()


def junk() -> str:
    """Return what is of the right size, below every modulus, and decrypts to nothing."""
    return base64.b64encode(b"\0" + secrets.token_bytes(255)).decode()


def test_material_in_another_keys_row_does_not_open(served: RunningService, client: TencentClient) -> None:
    instance = served.instance
    one, other = client.external_key(), client.external_key()
    for key_id in (one, other):
        client.bring(key_id, secrets.token_bytes(32))
        show(instance, key_id)
    swap(instance, "materials", "key_id", one, other)
    for key_id in (one, other):
        said = show(instance, key_id, expect=SOFTWARE_ERROR)
        sentences = [line for line in said.splitlines() if not line.startswith("{")]
        assert len(sentences) == 1
        assert sentences[0].startswith("hsmkms: ")
        assert "CKR_" not in said
    swap(instance, "materials", "key_id", one, other)
    for key_id in (one, other):
        show(instance, key_id)


def test_a_private_half_in_another_pairs_row_does_not_open(served: RunningService, client: TencentClient) -> None:
    instance = served.instance
    one, other = client.external_key(), client.external_key()
    tickets = {key_id: client.parameters(key_id) for key_id in (one, other)}
    pairs = [pair_of(instance, key_id) for key_id in (one, other)]
    assert pairs[0] != pairs[1]
    sent = {key_id: client.wrapped(tickets[key_id], secrets.token_bytes(32)) for key_id in tickets}
    swap(instance, "pair_secrets", "pair_id", *pairs)
    for key_id, parameters in tickets.items():
        assert client.import_code(key_id, parameters, sent[key_id]) == "InternalError"
        assert client.state(key_id) == "PendingImport"
    swap(instance, "pair_secrets", "pair_id", *pairs)
    for key_id, parameters in tickets.items():
        client.import_(key_id, parameters, sent[key_id])
        assert client.state(key_id) == "Enabled"


def test_ten_failures_exhaust_an_import_token_though_everything_dies_meanwhile(
    served: RunningService, client: TencentClient
) -> None:
    key_id = client.external_key()
    parameters = client.parameters(key_id)

    def fail(times: int) -> None:
        for _ in range(times):
            assert client.import_code(key_id, parameters, junk()) == DECRYPT_ERROR

    fail(4)
    kill_the_web_process(served)
    fail(3)
    served.process.kill()
    served.process.wait()
    served.start()
    before = served.verbs("ImportMaterial")
    fail(3)
    until(lambda: served.verbs("ImportMaterial") == before + 3, "what reaches a host is counted")
    assert attempts(served.instance, key_id) == (MOST_ATTEMPTS, 0)
    for sent in (junk(), client.wrapped(parameters, secrets.token_bytes(32))):
        assert client.import_code(key_id, parameters, sent) == TOKEN_EXPIRED
    # A later import, which is counted, shows that these were not on their way.
    another = client.external_key()
    client.bring(another, secrets.token_bytes(32))
    until(lambda: served.verbs("ImportMaterial") > before + 3, "what reaches a host is counted")
    assert served.verbs("ImportMaterial") == before + 4


def test_uses_are_counted_though_everything_dies(served: RunningService, client: TencentClient) -> None:
    instance, key_id = served.instance, client.generated_key()
    ciphertext = client.encrypt(key_id, PLAINTEXT)
    block = uses_leased(instance, key_id)
    kill_the_web_process(served)
    client.encrypt(key_id, PLAINTEXT)
    assert uses_leased(instance, key_id) == 2 * block, "what it did not use is lost, not used twice"
    children = served.children()
    served.process.kill()
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    served.process.wait()
    # Uses that are left, and fewer than a block, are not leased: a key may never have more than the bound.
    run(instance, "UPDATE keys SET uses_leased = ? WHERE key_id = ?", MOST_USES - block, key_id)
    served.start()
    client.encrypt(key_id, PLAINTEXT)
    assert uses_leased(instance, key_id) == MOST_USES
    kill_the_web_process(served)
    refused = client.failure(client.encrypt, key_id, PLAINTEXT)
    assert refused.code == "LimitExceeded.KeyLimitExceeded"
    assert uses_leased(instance, key_id) == MOST_USES
    assert client.decrypt(ciphertext) == PLAINTEXT, "it still decrypts"


def in_flight(served: RunningService, client: TencentClient, victim: str) -> tuple[str, tuple[int, int]]:
    """Kill while the token is asked; return what the client was answered, and attempts and attempts given back."""
    key_id = client.external_key()
    parameters = client.parameters(key_id)
    encrypted = client.wrapped(parameters, secrets.token_bytes(32))
    hosts, web = served.pids("host"), served.pids("web")
    for host in hosts:
        os.kill(host, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.import_code, key_id, parameters, encrypted)
        until(lambda: attempts(served.instance, key_id) == (1, 0), "the attempt is counted before it is made")
        for pid in {"host": hosts, "web": web}[victim]:
            os.kill(pid, signal.SIGKILL)
        for host in hosts:
            with contextlib.suppress(ProcessLookupError):
                os.kill(host, signal.SIGCONT)
        code = answer.result()
    served.until_ready()
    counted = attempts(served.instance, key_id)
    client.import_(key_id, parameters, encrypted)
    assert client.state(key_id) == "Enabled"
    return code, counted


def test_an_attempt_is_given_back_when_its_host_is_killed(served: RunningService, client: TencentClient) -> None:
    assert in_flight(served, client, "host") == (TEMPORARILY, (0, 1))


def test_an_attempt_stays_counted_when_the_web_process_is_killed(served: RunningService, client: TencentClient) -> None:
    assert in_flight(served, client, "web") == ("ClientNetworkError", (1, 0))
