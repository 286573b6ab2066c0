"""`hsmkms import-key` and `hsmkms wrap` against a running service, on each token and in each edition."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import secrets
import sqlite3
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.cli.commands import Done, run
from tests.client.played import SILENCE, Played, Reply, Request, serving
from tests.e2e.kill_loop import processes_of
from tests.e2e.running import HSMKMS, Instance, RunningService, hsmkms, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.tencent_client import TencentClient

REFUSED: Final = 1
WRONG: Final = 2
ORPHAN_SECONDS: Final = 30


@pytest.fixture
def file(tmp_path: Path, service: RunningService) -> Path:
    """A file with material of the right length."""
    return written(tmp_path / "key.bin", secrets.token_bytes(service.instance.material_bytes))


def written(path: Path, material: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(material)
    return path


def words(service: RunningService, *arguments: str, endpoint: str | None = None) -> tuple[str, ...]:
    """Return the words of a command with the instance's credential."""
    credential = str(service.instance.folder / "credential.json")
    return (
        "import-key",
        "--endpoint",
        f"http://{endpoint or service.endpoint}",
        "--credential",
        credential,
        *arguments,
    )


def import_key(service: RunningService, key_id: str, file: Path, *arguments: str, endpoint: str | None = None) -> Done:
    return run(*words(service, "--key-id", key_id, *arguments, "--json", str(file), endpoint=endpoint))


def done_well(done: Done) -> dict[str, Any]:
    assert done.code == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_the_material_of_a_file_is_what_the_key_holds(
    service: RunningService, client: TencentClient, file: Path
) -> None:
    key_id = client.external_key()
    shown = done_well(import_key(service, key_id, file))
    assert shown == {
        "key_id": key_id,
        "state": "Enabled",
        "valid_to": None,
        "length_bits": 8 * service.instance.material_bytes,
        "algorithm": client.algorithm,
        "already_held": False,
    }
    assert client.state(key_id) == "Enabled"
    client.bring(key_id, file.read_bytes())  # the service takes nothing but the same
    parameters = client.parameters(key_id)
    other = client.wrapped(parameters, secrets.token_bytes(len(file.read_bytes())))
    assert client.failure(client.import_, key_id, parameters, other).code == "InvalidParameterValue.MaterialNotMatch"


def test_again_it_changes_nothing_but_the_expiry_asked_for(
    service: RunningService, client: TencentClient, file: Path
) -> None:
    key_id = client.external_key()
    expiry = int(time.time()) + 3600
    asked: tuple[tuple[tuple[str, ...], int | None], ...] = (
        ((), None),
        (("--valid-to", str(expiry)), expiry),
        ((), expiry),
        (("--valid-to", "none"), None),
    )
    for turn, (arguments, valid_to) in enumerate(asked):
        done = import_key(service, key_id, file, *arguments)
        shown = done_well(done)
        assert (shown["state"], shown["valid_to"], shown["already_held"]) == ("Enabled", valid_to, turn > 0)
        assert ("the key already held this material" in done.stderr) == (turn > 0)


def test_other_material_is_refused_in_clear_words(service: RunningService, client: TencentClient, file: Path) -> None:
    key_id = client.external_key()
    client.bring(key_id, secrets.token_bytes(service.instance.material_bytes))
    done = import_key(service, key_id, file)
    assert (done.code, done.stdout) == (REFUSED, "")
    assert "The key was first imported with other material than this" in done.stderr
    assert "InvalidParameterValue.MaterialNotMatch" in done.stderr


def test_a_key_that_cannot_take_it_is_said(service: RunningService, client: TencentClient, file: Path) -> None:
    key_id = client.external_key()
    client.bring(key_id, file.read_bytes())
    client.call("DisableKey", KeyId=key_id)
    generated = client.generated_key()
    unknown = "00000000-0000-4000-8000-000000000000"
    for wanted, says in ((key_id, "enable it first"), (generated, "is not EXTERNAL"), (unknown, "CmkNotFound")):
        done = import_key(service, wanted, file)
        assert (done.code, done.stdout) == (REFUSED, "")
        assert says in done.stderr
    assert client.state(key_id) == "Disabled"


def test_an_algorithm_that_the_token_lacks_is_named(service: RunningService, client: TencentClient, file: Path) -> None:
    done = import_key(service, client.external_key(), file, "--algorithm", "RSAES_PKCS1_V1_5")
    assert (done.code, done.stdout) == (REFUSED, "")
    assert (
        f"Offered: {'RSAES_OAEP_SHA_256, ' if service.instance.token == 'nss' else ''}RSAES_OAEP_SHA_1" in done.stderr
    )


def test_standard_input_and_an_alias(service: RunningService, client: TencentClient, file: Path) -> None:
    alias = f"by-alias-{secrets.token_hex(6)}"
    found = set()
    for turn in range(2):
        done = subprocess.run(
            [*HSMKMS, *words(service, "--create", alias, "--json", "-")],
            input=file.read_bytes(),
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        shown = json.loads(done.stdout)
        found.add(shown["key_id"])
        assert shown["already_held"] == (turn > 0)
    (key_id,) = found
    assert client.call("DescribeKey", KeyId=key_id).KeyMetadata.Alias == alias


def test_material_wrapped_apart_from_the_network_is_imported(
    service: RunningService, client: TencentClient, file: Path, tmp_path: Path
) -> None:
    key_id = client.external_key()
    parameters = client.parameters(key_id)
    (tmp_path / "public").write_text(parameters.public_key)
    files = ("--public-key", str(tmp_path / "public"), "--output", str(tmp_path / "wrapped"))
    hsmkms("wrap", *files, "--algorithm", client.algorithm, str(file))
    client.import_(key_id, parameters, (tmp_path / "wrapped").read_text().strip())
    assert client.state(key_id) == "Enabled"


# --- lengths -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("edition", ["fips", "sm"])
def test_no_wrong_length_is_ever_sent(
    request: pytest.FixtureRequest, service: RunningService, edition: str, tmp_path: Path
) -> None:
    # Not a parametrised fixture: the services of one token are to stay together, and each be started once.
    service = service if edition == "fips" else request.getfixturevalue("sm_service")
    right = service.instance.material_bytes
    key_id = service.client().external_key()
    for size in range(65):
        if size != right:
            done = import_key(service, key_id, written(tmp_path / "key.bin", secrets.token_bytes(size)))
            assert (done.code, done.stdout) == (WRONG, ""), size
            assert f"The key material is {size} bytes; it must be exactly " in done.stderr
            assert f"{right} bytes ({8 * right} bits)" in done.stderr
    assert service.client().state(key_id) == "PendingImport"
    assert tickets(service.instance, key_id) == 0
    good = secrets.token_bytes(right)
    assert done_well(import_key(service, key_id, written(tmp_path / "key.bin", good)))["state"] == "Enabled"
    assert tickets(service.instance, key_id) == 1


@pytest.mark.parametrize("edition", ["fips", "sm"])
def test_material_of_the_other_edition_leaves_no_key_unsaid(
    request: pytest.FixtureRequest, service: RunningService, edition: str, tmp_path: Path
) -> None:
    service = service if edition == "fips" else request.getfixturevalue("sm_service")
    credential = service.instance.another_credential(f"empty-{secrets.token_hex(3)}")
    (tmp_path / "credential.json").write_text(json.dumps(credential))
    (tmp_path / "credential.json").chmod(0o600)
    client = service.client(credential)
    file = written(tmp_path / "key.bin", secrets.token_bytes(48 - service.instance.material_bytes))

    def create(alias: str) -> Done:
        named = ("--credential", str(tmp_path / "credential.json"), "--create", alias)
        return run("import-key", "--endpoint", f"http://{service.endpoint}", *named, str(file))

    done = create("first")
    assert (done.code, done.stdout) == (WRONG, "")
    assert "other edition" in done.stderr
    made = [each.KeyId for each in client.call("ListKeys").Keys]
    # A token that does the edition's cipher shows the edition; with another one it takes a key to learn it.
    assert len(made) == (0 if (service.instance.token, edition) == ("softhsm", "fips") else 1)
    assert all(f"the key {each} (first) was made, and is without material" in done.stderr for each in made)
    client.external_key()
    done = create("second")
    assert (done.code, done.stdout) == (WRONG, "")
    assert "was made" not in done.stderr
    assert len(client.call("ListKeys").Keys) == len(made) + 1


def tickets(instance: Instance, key_id: str) -> int:
    """Return how many import tokens were issued for a key."""
    with contextlib.closing(sqlite3.connect(instance.database, timeout=10)) as database:
        return int(database.execute("SELECT count(*) FROM tickets WHERE key_id = ?", (key_id,)).fetchone()[0])


def test_the_service_sees_ciphertext_only(service: RunningService, client: TencentClient, file: Path) -> None:
    key_id = client.external_key()
    relay = Relay({}, service=service)
    with serving(relay):
        done_well(import_key(service, key_id, file, endpoint=f"127.0.0.1:{relay.port}"))
    material = file.read_bytes()
    assert len(relay.of("ImportKeyMaterial")) == 1
    for request in relay.requests:
        for spelled in (material, material.hex().encode(), base64.b64encode(material).strip(b"=")):
            assert spelled not in request.body


# --- a service that dies -----------------------------------------------------------------------------------


@dataclass
class Relay(Played):
    """Stands between the client and the service; if it is to, kills the service when an import first arrives."""

    service: RunningService = field(kw_only=True)
    kills: str = "never"
    """`before` the service hears the import, or `after` it answered, which the client then does not hear."""

    def reply(self, request: Request) -> Reply:
        """Pass a request on, and its answer back; what is cut, or meets nobody, gets no answer."""
        if request.action != "ImportKeyMaterial" or self.kills == "never":
            return self._passed_on(request)
        if self.kills == "after":
            assert b'"Error"' not in (self._passed_on(request).body or b"")
        self.kills = "never"
        self.service.process.kill()
        self.service.process.wait()
        until(lambda: not processes_of(self.service.instance), "the children end, too", ORPHAN_SECONDS)
        self.service.start()
        return SILENCE

    def _passed_on(self, request: Request) -> Reply:
        connection = http.client.HTTPConnection(self.service.endpoint, timeout=30)
        try:
            connection.request("POST", "/", request.body, dict(request.headers))
            answer = connection.getresponse()
            return Reply(answer.read(), answer.status)
        finally:
            connection.close()


@pytest.mark.parametrize("kills", ["before", "after"])
def test_a_service_killed_around_an_import_ends_in_one_import(instance: Instance, tmp_path: Path, kills: str) -> None:
    file = written(tmp_path / "key.bin", secrets.token_bytes(32))
    with instance.serving() as service:
        key_id = service.client().external_key()
        relay = Relay({}, service=service, kills=kills)
        with serving(relay):
            done = import_key(service, key_id, file, endpoint=f"127.0.0.1:{relay.port}")
        assert done_well(done)["state"] == "Enabled"
        assert "waiting" in done.stderr
        imports = relay.of("ImportKeyMaterial")
        assert len(imports) >= 2
        assert len({each.body for each in imports}) == 1
        assert (tickets(instance, key_id), service.attempts(key_id)) == (1, 1)
        again = done_well(import_key(service, key_id, file))
        assert (again["state"], again["already_held"]) == ("Enabled", True)
