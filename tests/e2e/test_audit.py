"""The audit trail of a running service: complete, sealed by the token, and verified from outside."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from hsmkms import config
from hsmkms.audit.chain import GENESIS, link
from hsmkms.audit.verification import Break, BreakReason
from hsmkms.core.events import AuditHead
from hsmkms.store.trail import event_of, event_values
from hsmkms.wiring.trail import verify_trail
from tests.e2e import database_file, raw
from tests.e2e.running import Instance, hsmkms, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hsmkms.audit.verification import Verification
    from tests.e2e.cloud_client import CloudClient
    from tests.e2e.running import RunningService

DURABLE_SECONDS: Final = 1.0
PLAINTEXT: Final = b"what nobody shall read"
NO_KEY: Final = "00000000-0000-4000-8000-000000000000"
STRANGER: Final = {"secret_id": "AKID" + "0" * 32, "secret_key": "x" * 32, "account": "demo"}


def events(instance: Instance) -> list[dict[str, Any]]:
    rows = database_file.run(instance, "SELECT sequence, tag, key_id, request_id, detail FROM events ORDER BY sequence")
    names = ("sequence", "tag", "key_id", "request_id", "detail")
    return [{**dict(zip(names, row, strict=True)), "detail": json.loads(row[-1])} for row in rows]


def everything(client: CloudClient) -> Counter[tuple[str, str | None]]:
    """Do one of each that a cloud's SDK can, and return what the trail must have of it."""
    key, other = client.generated_key(), client.generated_key()
    brought = client.external_key()
    client.bring(brought, os.urandom(32))
    ciphertext = client.encrypt(key, PLAINTEXT)
    client.decrypt(client.re_encrypt(ciphertext, other))
    client.data_key(key)
    client.random(16)
    client.describe(key)
    client.disable(key)
    client.failure(client.encrypt, key, PLAINTEXT)
    client.failure(client.describe, NO_KEY)
    client.delete_material(brought)
    client.schedule_deletion(key)
    client.cancel_deletion(key)
    return Counter(
        [
            *(("key:created", each) for each in (key, other, brought)),
            *(("key:parameters:issued", brought), ("key:material:imported", brought)),
            *(("key:encrypted", key), ("key:re-encrypted", other), ("key:decrypted", other)),
            *(("key:data-key:made", key), ("random:made", None), ("key:described", key), ("key:disabled", key)),
            *(("request:refused", key), ("request:refused", NO_KEY), ("key:material:deleted", brought)),
            *(("key:deletion:scheduled", key), ("key:deletion:cancelled", key)),
        ]
    )


def refused(service: RunningService) -> dict[str, dict[str, Any]]:
    """Be refused by Tencent's API before there is a command; return request ids and the details that are told."""
    wrong: tuple[tuple[str, dict[str, Any], str], ...] = (
        ("Encrypt", {"KeyId": 7}, "FieldInvalid"),
        ("DescribeKey", {}, "FieldMissing"),
    )
    told = {}
    for action, body, fault in wrong:
        answer = raw.signed(service.endpoint, service.instance.credential(), action, body)
        assert "Error" in answer.response
        told[answer.response["RequestId"]] = {"action": action, "fault": fault}
    return told


@dataclass(frozen=True)
class Served:
    """An instance that served and was killed, and served again and was stopped."""

    instance: Instance
    answered: Counter[tuple[str, str | None]]
    told: dict[str, dict[str, Any]]
    older: Path
    """A copy of the database from before the end, with a head of its own."""
    head: AuditHead
    """The last one in the log."""


@pytest.fixture(scope="module")
def served(instance: Instance) -> Iterator[Served]:
    older = instance.folder / "older.db"
    with instance.serving() as service:
        answered = everything(service.client()) + everything(service.huawei())
        told = refused(service)
        for _ in range(3):
            raw.signed(service.endpoint, STRANGER, "DescribeKey", {"KeyId": NO_KEY})
        last = time.monotonic()
        until(lambda: time.monotonic() > last + DURABLE_SECONDS, "a second after the last answer")
        service.client().random(16)
        (web,) = service.pids("web")
        os.kill(web, signal.SIGKILL)
        assert answered <= Counter((each["tag"], each["key_id"]) for each in events(instance))
        until(lambda: web not in service.pids("web"), "another web process")
        service.until_ready()
        client = service.client()
        green = hsmkms("audit", "verify", "--config", str(instance.config))
        assert "The audit trail holds" in green.stdout, green.stdout
        before = len(heads(service))
        client.random(16)
        until(lambda: len(heads(service)) > before, "a seal of the new process")
        with closing(sqlite3.connect(instance.database)) as source, closing(sqlite3.connect(older)) as copy:
            source.backup(copy)
        client.random(16)
        raw.signed(service.endpoint, STRANGER, "DescribeKey", {"KeyId": NO_KEY})
        assert service.stop() == 0
        yield Served(instance, answered, told, older, heads(service)[-1])


def heads(service: RunningService) -> list[AuditHead]:
    """Return the heads in the log."""
    logged = [line["head"] for line in service.log_lines() if line["event"] == "audit head sealed"]
    return [head for head in map(AuditHead.parse, logged) if head is not None]


def verified(instance: Instance, expected: AuditHead | None = None) -> Verification:
    kept = () if expected is None else (expected,)
    (trail,) = asyncio.run(verify_trail(config.load(instance.config), kept))
    return trail


@dataclass
class Copy(Instance):
    """The token of an instance with another database."""

    copied: Path = Path()

    @property
    def database(self) -> Path:
        """The other database."""
        return self.copied


def copy_of(served: Served, name: str, database: Path | None = None) -> Instance:
    """Return the same token with a copy of the database."""
    shutil.copy(database or served.instance.database, served.instance.folder / f"{name}.db")
    (served.instance.folder / f"{name}.db").chmod(0o600)
    other = served.instance.variant(name, {served.instance.database.name: f"{name}.db"})
    return Copy(**vars(other), copied=served.instance.folder / f"{name}.db")


def test_whatever_was_answered_a_second_before_a_kill_is_in_the_trail(served: Served) -> None:
    trail = events(served.instance)
    assert Counter((each["tag"], each["key_id"]) for each in trail) >= served.answered
    told = {each["request_id"]: each["detail"] for each in trail if each["request_id"] in served.told}
    assert told == served.told
    ours = {key_id for _, key_id in served.answered}  # the instance may have served other tests before
    for tag, times in (("key:encrypted", 2), ("key:re-encrypted", 2), ("key:material:imported", 2)):
        told_of = [each["key_id"] for each in trail if each["tag"] == tag and each["key_id"] in ours]
        assert len(told_of) == times, "nothing is told twice"


def test_strangers_are_counted_and_the_rest_is_written_at_the_end(served: Served) -> None:
    details = [each["detail"] for each in events(served.instance) if each["tag"] == "strangers:refused"]
    assert details[-1] == {"source": "127.0.0.1", "requests": 1, "CredentialUnknown": 1}
    assert STRANGER["secret_id"] not in json.dumps(events(served.instance))


def test_all_of_a_stopped_service_is_sealed_under_the_head_in_its_log(served: Served) -> None:
    done = verified(served.instance, served.head)
    assert (done.found, done.newer, done.sealed) == ([], 0, served.head)


def test_the_export_is_the_trail_line_by_line(served: Served) -> None:
    lines = hsmkms("audit", "export", "--config", str(served.instance.config), "--account", "demo").stdout.splitlines()
    exported = [json.loads(line) for line in lines]
    known = {each["sequence"]: each for each in events(served.instance)}
    assert set(exported[0]) == {
        *("sequence", "at", "tag", "account", "actor", "key_id", "request_id", "detail", "digest")
    }
    for each in exported:
        assert each["account"] == "demo"
        for name in ("tag", "key_id", "request_id", "detail"):
            assert each[name] == known[each["sequence"]][name]
    assert served.answered <= Counter((each["tag"], each["key_id"]) for each in exported)


def test_an_event_changed_by_hand_is_found_at_its_place(served: Served) -> None:
    forged = copy_of(served, "forged")
    (sequence,) = [each["sequence"] for each in events(forged) if each["tag"] == "key:encrypted"][:1]
    database_file.run(forged, "UPDATE events SET actor = 'nobody' WHERE sequence = ?", sequence)
    found = hsmkms("audit", "verify", "--config", str(forged.config), "--json", expect=1)
    told = json.loads(found.stdout)
    assert told["breaks"] == [{"sequence": sequence, "reason": BreakReason.DIGEST.value}]
    assert (told["holds"], told["events"]) == (False, sequence - 1)
    said = hsmkms("audit", "verify", "--config", str(forged.config), expect=1).stdout
    assert said.splitlines()[0] == f"Event {sequence}: {BreakReason.DIGEST.value}."
    assert "There is no seal" not in said


def remake(instance: Instance) -> list[AuditHead]:
    """Change the first event and make every digest anew, as whoever may write the database can; return the heads."""
    with closing(sqlite3.connect(instance.database)) as database, database:
        database.execute("UPDATE events SET actor = 'nobody' WHERE sequence = 1")
        database.row_factory = sqlite3.Row
        digest, made = GENESIS, []
        for row in database.execute("SELECT * FROM events ORDER BY sequence").fetchall():
            event = event_of(_Named(row)).event  # type: ignore[arg-type]
            digest = link(digest, event)
            made.append(AuditHead(row["sequence"], digest))
            values = event_values("", event, digest)
            database.execute("UPDATE events SET digest = ? WHERE sequence = ?", (values["digest"], made[-1].sequence))
    return made


class _Named:
    """A row by the names of its columns."""

    def __init__(self, row: sqlite3.Row) -> None:
        self.__dict__.update(dict(row))


def over_the_new_digest(instance: Instance, made: list[AuditHead]) -> None:
    for head in made:
        database_file.run(instance, "UPDATE audit_seals SET digest = ? WHERE sequence = ?", head.digest, head.sequence)


def as_it_is(_instance: Instance, _made: list[AuditHead]) -> None:
    """Leave the seals alone."""


@pytest.mark.parametrize(
    ("forge", "reason"),
    [(as_it_is, BreakReason.SEALED_OTHERWISE), (over_the_new_digest, BreakReason.SEAL_FORGED)],
    ids=["seals left", "seals changed"],
)
def test_who_may_write_the_whole_database_is_found_by_the_token(
    served: Served, forge: Callable[[Instance, list[AuditHead]], None], reason: BreakReason
) -> None:
    forged = copy_of(served, f"remade-{forge.__name__}")
    forge(forged, remake(forged))
    done = verified(forged)
    assert done.found == [Break(served.head.sequence, reason)]
    assert done.sealed is None


def test_an_older_copy_is_found_by_the_head_that_was_kept_elsewhere(served: Served) -> None:
    restored = copy_of(served, "restored", served.older)
    assert verified(restored).found == [], "alone it looks as it should"
    missed = hsmkms("audit", "verify", "--config", str(restored.config), "--expect-head", str(served.head), expect=1)
    assert f"Event {served.head.sequence}: it was the head, and is not there" in missed.stdout


def test_without_a_seal_it_is_said_that_nothing_is_protected(served: Served) -> None:
    bare = copy_of(served, "bare")
    database_file.run(bare, "DELETE FROM audit_seals")
    done = hsmkms("audit", "verify", "--config", str(bare.config), expect=1)
    assert "There is no seal: nothing protects these" in done.stdout


def test_what_is_no_head_is_refused_before_anything_is_opened(served: Served) -> None:
    said = hsmkms("audit", "verify", "--config", str(served.instance.config), "--expect-head", "12", expect=65)
    assert "write it as it was shown" in said.stderr


def test_a_reader_that_has_enough_is_no_defect(served: Served) -> None:

    command = [sys.executable, "-m", "hsmkms", "audit", "export", "--config", str(served.instance.config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as exporting:
        assert exporting.stdout is not None
        assert exporting.stderr is not None
        exporting.stdout.close()
        assert exporting.stderr.read() == b""
    assert exporting.returncode == 0
