"""A token that goes wrong in every way it can: what the caller is told, what is left, and how soon all is well again.

The module between the hosts and SoftHSM is `tests/faults/pkcs11_faults.c`, what must be answered is the table in
`tests/faults/table.py`: every return value, before and after the call, once and for as long as the caller waits, at
every function that a request meets. The normal run takes a diagonal of it; the whole product, some 1,600 cases in most
of an hour, is

    ./scripts/test tests/e2e/test_faults.py -m torture

Everything here runs while somebody asks /healthz ten times a second, and no answer may be missing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.hsm.spawn import READY_SECONDS
from tests.e2e import database_file
from tests.e2e.running import Instance, RunningService, until
from tests.faults.asking import Asked, Scene, answer_to
from tests.faults.full_disk import Disk
from tests.faults.health import Health, watched
from tests.faults.hosts import until_every_host
from tests.faults.pkcs11_faults import Faults
from tests.faults.table import AES_CMAC, AES_GCM, EVERY, OAEP, Answer, Case, ends_a_host, is_normal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeAlias

    Log: TypeAlias = list[dict[str, Any]]

RECOVERY_SECONDS: Final = 10.0
HOSTS: Final = 3
VERB_SECONDS: Final = 3
ALGORITHMS: Final = '["RSAES_OAEP_SHA_1", "RSAES_PKCS1_V1_5"]'
"""Tickets of the second never share a pair: each is a new one."""


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scene, Faults, Health]]:
    """A service on a token that goes wrong by rule, which is asked for its health all the time."""
    folder = tmp_path_factory.mktemp("faults")
    extra = f"\n[import]\ntickets_per_pair = 1000\nready_pairs = 0\nwrapping_algorithms = {ALGORITHMS}\n"
    instance = Instance.make(folder / "softhsm", extra=extra)
    instance.replace("[hsm]\n", f"[hsm]\nhosts = {HOSTS}\nverb_timeout_seconds = {VERB_SECONDS}\n")
    faults = Faults.between(folder / "module", instance)
    running = RunningService(instance)
    running.start(env=disk_of(instance).environment)
    try:
        with watched(running) as health:
            yield Scene(running), faults, health
    finally:
        running.end()


def disk_of(instance: Instance) -> Disk:
    """Return the disk that an instance's database is on."""
    return Disk(instance.folder, instance.database)


@pytest.fixture
def scene(staged: tuple[Scene, Faults, Health]) -> Scene:
    """The service and a key."""
    return staged[0]


@pytest.fixture
def faults(staged: tuple[Scene, Faults, Health]) -> Iterator[Faults]:
    """The module between the service and its token; nothing goes wrong after the test."""
    yield staged[1]
    staged[1].end()


@pytest.fixture
def health(staged: tuple[Scene, Faults, Health]) -> Health:
    """What /healthz answered so far."""
    return staged[2]


NORMAL: Final = sorted([case for case in EVERY if is_normal(case)], key=ends_a_host)
"""What costs no host comes first, while all hosts are there."""


def until_done(asked: Asked, seconds: float = RECOVERY_SECONDS) -> float:
    """Ask again until it is done; return how many seconds that took."""
    started = time.monotonic()
    until(lambda: answer_to(asked.send) is Answer.DONE, "the next clean call is done", seconds)
    asked.require_done()
    return time.monotonic() - started


def is_sealed(instance: Instance) -> bool:
    """Tell whether the token has nothing left to seal of the audit trail."""
    ((sealed, newest),) = database_file.run(
        instance, "SELECT (SELECT max(sequence) FROM audit_seals), (SELECT max(sequence) FROM events)"
    )
    return bool(sealed == newest)


def try_out(case: Case, scene: Scene, faults: Faults) -> None:
    """Let one function go wrong, and look at everything."""
    scene.service.until_ready(RECOVERY_SECONDS)
    asked = scene.ask(case.site.asked)
    before = asked.look()
    if case.site.function == "C_Sign":  # what was just asked for is sealed, too, and would meet the rule in its place
        until(lambda: is_sealed(scene.service.instance), "the trail is sealed", RECOVERY_SECONDS)
    with faults.ruled(case.rule) as ruling:
        answer = answer_to(asked.send)
        deadline = time.monotonic() + RECOVERY_SECONDS
        while not ruling.wrong and answer is Answer.DONE:  # it was done by a host that is too young for the rule
            assert time.monotonic() < deadline, "the rule was never met: this shows nothing"
            asked = scene.ask(case.site.asked)
            before = asked.look()
            answer = answer_to(asked.send)
    assert ruling.wrong, "the rule was never met: this shows nothing"
    assert answer in case.expected
    if answer is Answer.DONE:
        asked.require_done()
        return
    attempts = 1 if asked.costs_an_attempt and answer is Answer.CALLER else 0
    assert asked.look() == before.with_attempts(attempts)
    until_done(asked)


@pytest.mark.parametrize("case", NORMAL, ids=str)
def test_a_return_value(case: Case, scene: Scene, faults: Faults) -> None:
    try_out(case, scene, faults)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (f"C_UnwrapKey mechanism={OAEP} delay_ms=300", Answer.DONE),
        ("* delay_ms=20", Answer.DONE),
        (f"C_UnwrapKey mechanism={OAEP} delay_ms={VERB_SECONDS * 1000 + 500} count=1", Answer.LATER),
        (f"C_SignInit mechanism={AES_CMAC} hang count=1", Answer.LATER),
        (f"C_UnwrapKey mechanism={OAEP} kill count=1", Answer.LATER),
        (f"C_UnwrapKey mechanism={OAEP} kill after count=1", Answer.LATER),
    ],
)
def test_a_token_that_is_slow_hangs_or_takes_its_host_along(
    rule: str, expected: Answer, scene: Scene, faults: Faults
) -> None:
    scene.service.until_ready(RECOVERY_SECONDS)
    asked = scene.ask("import")
    before = asked.look()
    with faults.ruled(rule) as ruling:
        assert answer_to(asked.send) is expected
    assert ruling.wrong
    if expected is Answer.DONE:
        asked.require_done()
        return
    assert asked.look() == before
    until_done(asked)


def kill_all(hosts: list[int]) -> None:
    for host in hosts:
        with contextlib.suppress(ProcessLookupError):
            os.kill(host, signal.SIGKILL)


@pytest.mark.parametrize(
    "rule",
    [
        "C_Login kill count=1",
        f"C_EncryptInit 0x5 count=1 mechanism={AES_GCM}",
        pytest.param("C_Initialize 0x5 count=1", marks=pytest.mark.torture),
        pytest.param("C_GetSlotList 0xe0 count=2", marks=pytest.mark.torture),
        pytest.param("C_OpenSession 0x31 count=1", marks=pytest.mark.torture),
        pytest.param("C_Login 0x30 count=1", marks=pytest.mark.torture),
        pytest.param("C_Login hang count=1", marks=pytest.mark.torture),
        pytest.param("C_FindObjectsInit 0xb3 count=1", marks=pytest.mark.torture),
        pytest.param("C_FindObjectsInit hang count=1", marks=pytest.mark.torture),
        pytest.param("C_GenerateKeyPair 0x5 count=1", marks=pytest.mark.torture),
        pytest.param(f"C_UnwrapKey 0x30 count=1 mechanism={OAEP}", marks=pytest.mark.torture),
    ],
)
def test_a_token_that_fails_while_new_hosts_start(rule: str, scene: Scene, faults: Faults) -> None:
    service = scene.service
    service.until_ready(RECOVERY_SECONDS)
    asked = scene.ask("import"), scene.ask("encrypt")
    hosts = until_every_host(service, HOSTS)
    with faults.ruled(rule) as ruling:
        kill_all(hosts)
        until(lambda: ruling.wrong, "a new host meets it", RECOVERY_SECONDS)
        for each in asked:  # a host that has sent the PIN is not hurried
            until_done(each, RECOVERY_SECONDS + (READY_SECONDS if rule.startswith("C_Login hang") else 0))
    until_every_host(service, HOSTS)


def gave_up(log: Log) -> bool:
    """Tell whether a web process has ended because the token seemed to be another."""
    ended = [line for line in log if line["event"] == "the web process ended and is replaced"]
    return any(line["exit_code"] == os.EX_CONFIG for line in ended)


def kept_trying(log: Log) -> bool:
    """Tell whether each host has been started twice in vain, while the new web process waits for one."""
    tried = [line["host"] for line in log if line["event"] == "a host could not start and is tried again"]
    return len({each for each in tried if tried.count(each) > 1}) >= HOSTS


@pytest.mark.parametrize(
    ("rule", "has_shown"),
    [
        pytest.param("C_FindObjectsInit 0x5", gave_up, id="seems another"),
        pytest.param("* 0x30", kept_trying, id="not there", marks=pytest.mark.torture),
    ],
)
def test_a_token_that_is_sick_for_a_while(
    rule: str, has_shown: Callable[[Log], bool], scene: Scene, faults: Faults, health: Health
) -> None:
    """Hosts and the web process are replaced meanwhile, and nothing of it is taken for a wrong installation."""
    service = scene.service
    service.until_ready(RECOVERY_SECONDS)
    asked = scene.ask("import")
    before = len(service.log_lines())
    with faults.ruled(rule) as ruling:
        kill_all(service.serving_hosts())
        until(lambda: ruling.wrong, "a new host meets it", RECOVERY_SECONDS)
        with health.excused():
            kill_all(service.pids("web"))
            until(lambda: has_shown(service.log_lines()[before:]), "a new web process meets it", 2 * RECOVERY_SECONDS)
    with health.excused():  # the web process may give up once more
        until_done(asked)


def test_a_token_directory_gone_and_back(scene: Scene) -> None:
    service = scene.service
    service.until_ready(RECOVERY_SECONDS)
    asked = scene.ask("import")
    before = asked.look()
    tokens = service.instance.folder / "tokens"
    away = tokens.rename(tokens.with_name("away"))
    try:
        answer = answer_to(asked.send)
        assert answer is not Answer.CALLER
        kill_all(service.serving_hosts())
        assert answer_to(scene.ask("encrypt").send) is Answer.LATER
        if answer is Answer.LATER:
            assert asked.look() == before
    finally:
        away.rename(tokens)
    until_done(asked)
    until_done(scene.ask("encrypt"))


def test_a_full_disk(scene: Scene, faults: Faults) -> None:
    service = scene.service
    service.until_ready(RECOVERY_SECONDS)
    imported, created = scene.ask("import"), scene.ask("create")
    before = imported.look()
    with disk_of(service.instance).full():
        assert answer_to(imported.send) is Answer.LATER
        assert answer_to(created.send) is Answer.LATER
        assert imported.look() == before, "what only reads goes on"
    until_done(imported)
    until_done(created)


def test_a_disk_that_fills_while_the_token_works(scene: Scene, faults: Faults) -> None:
    """The attempt stays counted: it cannot be taken back on a full disk, and nothing else is lost."""
    service = scene.service
    service.until_ready(RECOVERY_SECONDS)
    asked = scene.ask("import")
    before = asked.look()
    with faults.ruled(f"C_UnwrapKey mechanism={OAEP} delay_ms=1000") as ruling, ThreadPoolExecutor(1) as thread:
        answer = thread.submit(answer_to, asked.send)
        until(lambda: ruling.wrong, "the token works", VERB_SECONDS)
        with disk_of(service.instance).full():
            assert answer.result(RECOVERY_SECONDS) is Answer.LATER
    assert asked.look() == before.with_attempts(1)
    until_done(asked)


@pytest.mark.torture
@pytest.mark.timeout(4 * 3600)
def test_every_return_value_everywhere(scene: Scene, faults: Faults) -> None:
    """`./scripts/test tests/e2e/test_faults.py -m torture -s` prints the figures."""
    wrong = []
    for number, case in enumerate(EVERY):
        try:
            try_out(case, scene, faults)
        except AssertionError as error:
            wrong.append(f"{case}: {error}")
        if number % 100 == 99:
            print(f"{number + 1} of {len(EVERY)}, {len(wrong)} wrong")  # noqa: T201 - the figures of a torture run
    assert wrong == []
