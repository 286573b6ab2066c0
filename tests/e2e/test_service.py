"""The service as an operator meets it: starting, stopping, dying and being replaced."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from tests.e2e import raw
from tests.e2e.running import Instance, RunningService, is_alive, stopped, until

if TYPE_CHECKING:
    from collections.abc import Iterator

MATERIAL = secrets.token_bytes(32)
MODULES = {"softhsm": "libsofthsm2", "nss": "libsoftokn3"}


@dataclass
class Trap:
    """A SoftHSM configuration of the user's own, which nobody may follow or change."""

    folder: Path

    def __post_init__(self) -> None:
        self.tokens.mkdir()
        self.configuration.write_text(f"directories.tokendir = {self.tokens}\n")
        self.before = self.configuration.stat()

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens"

    @property
    def configuration(self) -> Path:
        return self.folder / "softhsm2.conf"

    @property
    def environment(self) -> dict[str, str]:
        return {"SOFTHSM2_CONF": str(self.configuration)}


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Trap:
    return Trap(tmp_path_factory.mktemp("trap"))


@pytest.fixture(scope="module")
def robust(trap: Trap, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """One service to kill parts of, made and started by a user with a trap, which soon takes a host for hung."""
    instance = Instance.make(tmp_path_factory.mktemp("robust") / "softhsm", env=trap.environment)
    instance.replace("[hsm]\n", "[hsm]\nhosts = 1\nverb_timeout_seconds = 3\n")
    service = RunningService(instance)
    service.start(env=trap.environment)
    try:
        yield service
    finally:
        service.end()


def refuses_connections(service: RunningService) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", service.instance.port)) != 0


def imports_a_key(service: RunningService) -> str:
    """Do the whole ceremony."""
    client = service.client()
    key_id = client.external_key()
    client.bring(key_id, MATERIAL)
    return key_id


# --- what is answered --------------------------------------------------------------------------------------


def test_the_health_paths(service: RunningService) -> None:
    for path, status in (("/healthz", "ok"), ("/readyz", "ready")):
        answer = raw.send(service.endpoint, "GET", path, {"Host": service.endpoint})
        assert (answer.status, json.loads(answer.body)) == (200, {"status": status})


def test_an_error_is_http_200_and_exactly_json(service: RunningService) -> None:
    keys = service.instance.credential()
    for action, code in (("GetRegions", None), ("Nonsense", "InvalidAction")):
        answer = raw.signed(service.endpoint, keys, action, {})
        assert (answer.status, answer.values("content-type")) == (200, ["application/json"])
        assert answer.response.get("Error", {}).get("Code") == code
        assert answer.response["RequestId"]


def test_a_body_of_exactly_64_kib_is_read(service: RunningService) -> None:
    body = b"{}".ljust(64 * 1024)
    answer = raw.signed(service.endpoint, service.instance.credential(), "GetRegions", body)
    assert "Error" not in answer.response
    answer = raw.signed(service.endpoint, service.instance.credential(), "GetRegions", body + b" ")
    assert answer.error[0] == "InvalidParameter"


def test_a_body_in_chunks_is_measured_as_it_comes(service: RunningService) -> None:
    chunk = b"2000\r\n" + b" " * 0x2000 + b"\r\n"
    head = (
        f"POST / HTTP/1.1\r\nHost: {service.endpoint}\r\nX-TC-Action: GetRegions\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.instance.port), timeout=10) as connection:
        connection.sendall(head.encode() + chunk * 9)
        answer = connection.recv(65536)
    assert b"64 KiB" in answer


def test_what_is_no_request_does_no_harm(service: RunningService) -> None:
    for junk in (b"\0\1\2\r\n\r\n", b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\0\1\0\1\xfc\3\3"):
        with socket.create_connection(("127.0.0.1", service.instance.port), timeout=10) as connection:
            connection.sendall(junk)
            connection.shutdown(socket.SHUT_WR)
            assert b"Traceback" not in connection.recv(65536)
    assert service.get("/readyz")[0] == 200


def test_the_web_process_never_maps_the_module_and_the_hosts_do(service: RunningService) -> None:
    imports_a_key(service)
    module = MODULES[service.instance.token]

    def maps(pid: int) -> str:
        return Path(f"/proc/{pid}/maps").read_text()

    hosts = service.pids("host")
    assert len(hosts) >= 2
    assert all(module in maps(pid) for pid in hosts), "the control: this is how it would show"
    for pid in (service.process.pid, *service.pids("web")):
        assert not any(word in maps(pid) for word in (*MODULES.values(), "pkcs11")), pid


def test_no_secret_is_in_arguments_environment_or_log(service: RunningService) -> None:
    imports_a_key(service)
    secret = [
        (service.instance.folder / "pin").read_text().strip(),
        service.instance.credential()["secret_key"],
        MATERIAL.hex(),
    ]
    seen = [service.log.read_text()]
    for pid in (service.process.pid, *service.children()):
        seen += [Path(f"/proc/{pid}/{name}").read_bytes().decode("latin-1") for name in ("cmdline", "environ")]
    assert not any(each in text for each in secret for text in seen)


def test_a_new_credential_holds_in_the_running_service(service: RunningService) -> None:
    keys = service.instance.another_credential(f"new-{secrets.token_hex(3)}")
    client = service.client(keys)
    until(lambda: client.call("GetRegions").Regions, "the new credential", 5)
    assert client.call("ListKeys").TotalCount == 0


# --- the user's own SoftHSM --------------------------------------------------------------------------------


def test_the_users_softhsm_configuration_is_neither_followed_nor_touched(trap: Trap, robust: RunningService) -> None:
    imports_a_key(robust)
    assert any((robust.instance.folder / "tokens").iterdir())
    assert list(trap.tokens.iterdir()) == []
    assert trap.configuration.stat() == trap.before


# --- the end -----------------------------------------------------------------------------------------------


def test_sigterm_finishes_what_is_in_flight_and_leaves_no_process(instance: Instance) -> None:
    with instance.serving() as service, ThreadPoolExecutor(1) as thread:
        client = service.client()
        key_id = client.external_key()
        parameters = client.parameters(key_id)
        encrypted = client.wrapped(parameters, MATERIAL)
        children = service.children()
        with stopped(service.pids("host")):
            answer = thread.submit(client.import_, key_id, parameters, encrypted)
            until(lambda: service.attempts(key_id) == 1, "the import is on its way to a host", 10)
            service.process.send_signal(signal.SIGTERM)
            until(lambda: refuses_connections(service), "nothing more is accepted", 10)
            assert not answer.done()
            assert service.process.poll() is None
        assert answer.result(timeout=20).RequestId
        assert service.process.wait(timeout=20) == 0
        assert not any(is_alive(pid) for pid in children)
    assert instance.holds_material(key_id), "what was answered is committed"


def test_a_second_sigterm_ends_everything_at_once(instance: Instance) -> None:
    with instance.serving() as service, ThreadPoolExecutor(1) as thread:
        client = service.client()
        key_id = client.external_key()
        parameters = client.parameters(key_id)
        encrypted = client.wrapped(parameters, MATERIAL)
        children = service.children()
        with stopped(service.pids("host")):
            answer = thread.submit(client.import_, key_id, parameters, encrypted)
            until(lambda: service.attempts(key_id) == 1, "the import is on its way to a host", 10)
            service.process.send_signal(signal.SIGTERM)
            until(lambda: refuses_connections(service), "nothing more is accepted", 10)
            service.process.send_signal(signal.SIGTERM)
            service.process.wait(timeout=3)
        with pytest.raises(TencentCloudSDKException):
            answer.result(timeout=20)
        assert not any(is_alive(pid) for pid in children)
    assert not instance.holds_material(key_id)


# --- dying and being replaced ------------------------------------------------------------------------------


def test_killed_hosts_are_replaced(robust: RunningService) -> None:
    before = set(robust.pids("host"))
    (web,) = robust.pids("web")
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(set(robust.pids("host")) - before) == len(before), "new hosts")
    robust.until_ready()
    imports_a_key(robust)
    assert robust.pids("web") == [web]


def test_a_hanging_host_costs_one_call_and_is_replaced(robust: RunningService) -> None:
    client = robust.client()
    (victim,) = robust.serving_hosts()
    with stopped([victim]):
        code = client.code("CreateKey", Alias=f"h-{secrets.token_hex(8)}", Type=1)
        assert code == "UnsupportedOperation.ServiceTemporaryUnavailable"
        until(lambda: not is_alive(victim), "its end", 5)
    robust.until_ready()
    assert robust.serving_hosts() != [victim]
    imports_a_key(robust)


def test_a_killed_web_process_is_replaced_and_the_port_stays(robust: RunningService) -> None:
    key_id = imports_a_key(robust)
    (before,) = robust.pids("web")
    os.kill(before, signal.SIGKILL)
    until(lambda: not is_alive(before), "its end", 5)
    assert robust.get("/healthz") == (200, b'{"status": "ok"}'), "a connection made meanwhile waits for the next"
    assert robust.pids("web") != [before]
    robust.until_ready()
    assert robust.client().state(key_id) == "Enabled"
    imports_a_key(robust)


def test_when_the_supervisor_is_killed_nothing_is_left(instance: Instance) -> None:
    service = RunningService(instance)
    service.start()
    try:
        imports_a_key(service)
        children = service.children()
        assert len(children) >= 3
        service.process.kill()
        service.process.wait()
        until(lambda: not any(is_alive(pid) for pid in children), "the end of all children", 2)
        until(lambda: refuses_connections(service), "the end of the port", 2)
    finally:
        service.end()
