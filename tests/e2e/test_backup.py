"""docs/deployment.md, command by command: a backup of a running service, restored where nothing is left of it."""

from __future__ import annotations

import re
import secrets
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e import deployment_page
from tests.e2e.running import Instance, free_port, hsmkms, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.cloud_client import ImportParameters
    from tests.e2e.running import RunningService
    from tests.e2e.tencent_client import TencentClient
    from tests.postgres.server import PostgresServer

(MAKE,) = deployment_page.blocks("Backup", "sh")
(RESTORE,) = deployment_page.blocks("Restore", "sh")
(SQL,) = deployment_page.blocks("PostgreSQL", "sql")
(SHOWN,) = deployment_page.blocks("Backup")
SMALL: Final = "\n[import]\ntickets_per_pair = 1000\nready_pairs = 0\n"
"""A service that starts soon: it is started twice."""
HEAD: Final = re.compile(r"(?:[a-z0-9-]+/)?[0-9]+:[0-9a-f]{64}")


@dataclass
class Place:
    """Where an instance is, and what the page calls the places it has files in."""

    instance: Instance
    backups: Path
    pin: Path
    """What is kept apart from backups."""

    def run(self, commands: str, head: str = "") -> str:
        """Run a block of the page, here, and return what it printed."""
        places = {
            "/etc/hsmkms": self.instance.folder,
            "/var/lib/hsmkms": self.instance.folder,
            "/var/backups/hsmkms": self.backups,
            "/media/pin": self.pin,
        }
        return deployment_page.run(HEAD.sub(head, commands), places)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.torture)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An instance on each kind of database; with PostgreSQL in one made as the page says."""
    backups = tmp_path / "backups"
    backups.mkdir()
    if request.param == "sqlite":
        yield Place(small(Instance.make(tmp_path / "instance", extra=SMALL)), backups, tmp_path / "pin")
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = f"restored_{secrets.token_hex(4)}"
    make_database(server, name)
    port = free_port()
    folder = tmp_path / "instance"
    hsmkms("new", str(folder), "--port", str(port), "--store", server.url(name))
    instance = Instance(folder, "softhsm", "fips", port)
    instance.config.write_text(instance.config.read_text() + SMALL)
    yield Place(small(instance), backups, tmp_path / "pin")
    server.drop_database(name)


def small(instance: Instance) -> Instance:
    instance.replace("[hsm]\n", "[hsm]\nhosts = 1\n")
    return instance


def make_database(server: PostgresServer, name: str) -> None:
    """Make a database as the page says; its owner is there."""
    role, *statements = SQL.replace("DATABASE hsmkms", f"DATABASE {name}").split(";")
    assert role.startswith("CREATE ROLE hsmkms ")
    with server.administering() as connection:
        for statement in statements:
            connection.execute(statement.encode())


def lose(place: Place, request: pytest.FixtureRequest) -> None:
    """Leave nothing of an instance but its backup, and its PIN elsewhere; of its database on a server not even that."""
    shutil.copy(place.instance.folder / "pin", place.pin)
    database = re.search(r"^url = \"postgresql://.*/(\w+)\?", place.instance.config.read_text(), re.MULTILINE)
    shutil.rmtree(place.instance.folder)
    if database is not None:
        server: PostgresServer = request.getfixturevalue("postgres")
        server.drop_database(database[1])
        make_database(server, database[1])


@dataclass
class Before:
    """What a service had done when its backup was made."""

    kept: str
    """A key with material, which it keeps."""
    material: bytes
    ciphertext: bytes
    deleted: str
    """A key whose material is deleted afterwards."""
    of_deleted: bytes
    pending: str
    """A key for which there are import parameters."""
    parameters: ImportParameters
    wrapped: str


def work(client: TencentClient) -> Before:
    material = secrets.token_bytes(32)
    kept, deleted, pending = (client.external_key() for _ in range(3))
    client.bring(kept, material)
    client.bring(deleted, secrets.token_bytes(32))
    parameters = client.parameters(pending)
    return Before(
        kept=kept,
        material=material,
        ciphertext=client.encrypt(kept, b"from before"),
        deleted=deleted,
        of_deleted=client.encrypt(deleted, b"deleted afterwards"),
        pending=pending,
        parameters=parameters,
        wrapped=client.wrapped(parameters, secrets.token_bytes(32)),
    )


def sealed(service: RunningService) -> str:
    """Return the last head that the service sealed."""

    def last() -> str:
        return next((line["head"] for line in service.log_lines()[::-1] if line["event"] == "audit head sealed"), "")

    return str(until(last, "a seal"))


def test_what_the_page_says_brings_it_all_back(place: Place, request: pytest.FixtureRequest) -> None:
    with place.instance.serving() as service:
        client = service.client()
        before = work(client)
        sealed(service)
        printed = place.run(MAKE)
        head = HEAD.findall(printed)[-1]

        client.import_(before.pending, before.parameters, before.wrapped)
        client.delete_material(before.deleted)
        newer = until(lambda: (last := sealed(service)) != head and last, "another seal")
        keys = place.instance.credential()
    assert columns(printed) == columns(SHOWN)

    lose(place, request)
    assert "already initialised; nothing was changed" in place.run(RESTORE, head)
    verified = hsmkms("audit", "verify", "--config", str(place.instance.config), "--expect-head", newer, expect=1)
    assert "was the head, and is not there" in verified.stdout
    with place.instance.serving() as service:
        client = service.client(keys)
        assert client.decrypt(before.ciphertext) == b"from before"
        assert client.decrypt(client.encrypt(before.kept, b"new")) == b"new"
        client.delete_material(before.kept)
        other = client.parameters(before.kept)
        code = client.import_code(before.kept, other, client.wrapped(other, secrets.token_bytes(32)))
        assert code == "InvalidParameterValue.MaterialNotMatch"
        client.bring(before.kept, before.material)
        assert client.decrypt(before.ciphertext) == b"from before"

        assert client.decrypt(before.of_deleted) == b"deleted afterwards", "a backup is the past"
        assert client.state(before.pending) == "PendingImport"
        client.import_(before.pending, before.parameters, before.wrapped)
        assert client.state(before.pending) == "Enabled"


def columns(text: str) -> list[str]:
    """Return what stands in the first column, and the values that are the same each time."""
    return [re.split(r" {2,}| (?=/)", line)[0] for line in text.splitlines()]
