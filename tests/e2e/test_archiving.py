"""`hsmkms audit archive` on a trail of three blocks, beside a running service and without one."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import secrets
import sqlite3
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from hsmkms import config
from hsmkms.audit.chain import GENESIS, link
from hsmkms.audit.verification import Break, BreakReason
from hsmkms.core.errors import ArchiveUnusable
from hsmkms.core.events import AuditHead, AuditSeal, Event, EventTag
from hsmkms.core.ids import Instant
from hsmkms.core.ids import account_name as parse_account
from hsmkms.wiring.adapters import opened_store
from hsmkms.wiring.trail import archive_trail, verify_trail
from tests.cli.commands import run
from tests.e2e import database_file
from tests.e2e.nodes import FIRST, serving_nodes
from tests.e2e.running import HSMKMS, Instance, hsmkms, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hsmkms.audit.verification import Verification
    from hsmkms.core.ports import Writing
    from tests.e2e.running import RunningService
    from tests.postgres.server import PostgresServer

DOES_NOT_HOLD: Final = 1
UNUSABLE: Final = 78
BLOCK: Final = 1000
OLD: Final = 1200
"""So many events are older than the 90 days that are kept where nothing else is said."""
YOUNGER: Final = 1300
DAY_MILLISECONDS: Final = 24 * 60 * 60 * 1000
PLAINTEXT: Final = b"said while the trail is archived"
KILLS: Final = 3
OTHER_DEPLOYMENT: Final = "00000000-0000-4000-8000-000000000000"
FILE_BYTES: Final = 100 * 1024
"""More than SQLite makes when it opens a database, and less than an archive."""


def uses(number: int, days_ago: int) -> list[Event]:
    at = Instant(time.time_ns() // 1_000_000 - days_ago * DAY_MILLISECONDS)
    event = Event(EventTag.RANDOM_MADE, at, parse_account("demo"), "AKID" + "0" * 32, detail={"bytes": 16})
    return [event] * number


async def _append(instance: Instance, events: Sequence[Event]) -> None:
    async with opened_store(config.load(instance.config)) as store:
        await store.write(functools.partial(_each, events=events))


async def _as_if_begun(instance: Instance, days_ago: int) -> None:
    """Date back a trail that was never sealed."""
    async with opened_store(config.load(instance.config)) as store:
        events = await store.trail("").events(0, BLOCK)
    digest = GENESIS
    for each in events:
        event = replace(each.event, at=Instant(each.event.at - days_ago * DAY_MILLISECONDS))
        digest = link(digest, event)
        change = "UPDATE events SET at = ?, digest = ? WHERE sequence = ?"
        database_file.run(instance, change, event.at, digest, each.sequence)


def _each(writing: Writing, *, events: Sequence[Event]) -> None:
    for event in events:
        writing.append(event)


def last(instance: Instance, table: str) -> int:
    return int(database_file.run(instance, f"SELECT max(sequence) FROM {table}")[0][0] or 0)  # noqa: S608 - our words


def until_sealed(instance: Instance) -> None:
    until(lambda: last(instance, "audit_seals") >= last(instance, "events"), "all is sealed")


def audit(instance: Instance, *words: object, expect: int = 0) -> subprocess.CompletedProcess[str]:
    command, *options = map(str, words)
    return hsmkms("audit", command, "--config", str(instance.config), *options, expect=expect)


def naming(*files: Path) -> list[str]:
    return [word for file in files for word in ("--archive", str(file))]


def verified(instance: Instance, *files: Path) -> Verification:
    (trail,) = asyncio.run(verify_trail(config.load(instance.config), (), files))
    return trail


def archive(instance: Instance, file: Path, keep_days: int = 0) -> int:
    """Archive in this process, and return how many events."""
    return sum(each.events for each in asyncio.run(archive_trail(config.load(instance.config), file, keep_days)))


def sequences(instance: Instance) -> set[int]:
    return {sequence for (sequence,) in database_file.run(instance, "SELECT sequence FROM events")}


def events_in(file: Path) -> list[dict[str, Any]]:
    """Return the events that an archive holds, also one that is not whole."""
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    told = [json.loads(line) for line in lines if line.endswith("\n")]
    return [each for each in told if "sequence" in each]


def seal_in(file: Path) -> AuditSeal:
    """Return the seal that an archive of one node ends with."""
    line = json.loads(file.read_text().splitlines()[-1])
    head = AuditHead.parse(line["seal"])
    assert head is not None
    return AuditSeal(head, bytes.fromhex(line["mac"]))


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    """An instance that is stopped, with a sealed trail of two blocks and a half; once the clock was far ahead."""
    made = Instance.make(tmp_path_factory.mktemp("grown") / "instance")
    asyncio.run(_as_if_begun(made, days_ago=100))
    asyncio.run(_append(made, uses(OLD, days_ago=100) + uses(1, days_ago=-1000) + uses(YOUNGER, days_ago=10)))
    with made.serving() as service:
        until_sealed(made)
        assert service.stop() == 0
    return made


@pytest.fixture
def copy(grown: Instance, tmp_path: Path) -> Instance:
    """A copy of it, for one test."""
    return grown.copy(tmp_path / "copy")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where an archive is to be."""
    return tmp_path / "trail.jsonl"


# --- while it serves ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Story:
    """An instance that was archived twice while it served and was used."""

    service: RunningService
    first: Path
    second: Path
    exported: dict[str, list[dict[str, Any]]]
    """The whole trail, before an archive and after it."""

    @property
    def instance(self) -> Instance:
        """The instance."""
        return self.service.instance

    @property
    def cut(self) -> AuditHead:
        """Where the trail goes on."""
        return seal_in(self.second).head


@contextlib.contextmanager
def used(service: RunningService, answers: list[bytes]) -> Iterator[None]:
    """Have a client encrypt and decrypt for the block, each of whose requests must succeed."""
    ended = threading.Event()
    client = service.client()
    key, begun = client.generated_key(), len(answers)

    def work() -> None:
        while not ended.is_set():
            answers.append(client.decrypt(client.encrypt(key, PLAINTEXT)))

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        until(lambda: len(answers) > begun, "it is used")
        try:
            yield
        finally:
            ended.set()
        working.result()


def exported(instance: Instance) -> list[dict[str, Any]]:
    done = run("audit", "export", "--config", str(instance.config))
    assert done.code == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def story(grown: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("story")
    instance, first, second = grown.copy(folder / "instance"), folder / "first", folder / "second"
    answers: list[bytes] = []
    with instance.serving() as service:
        before = exported(instance)
        with used(service, answers):
            said = audit(instance, "archive", "--to", first).stdout.splitlines()
        assert said == [f"Archived {BLOCK} events, up to {seal_in(first).head}", f"Keep {first}: it is the only copy."]
        after = exported(instance)
        asyncio.run(_append(instance, uses(BLOCK, days_ago=0)))
        until_sealed(instance)
        told = json.loads(audit(instance, "archive", "--to", second, "--keep-days", 0, "--json").stdout)
        cut = seal_in(second).head
        events = cut.sequence - seal_in(first).head.sequence
        assert told == {"archived": [{"node": "", "cut": str(cut), "events": events}]}
        assert len(events_in(second)) == events > BLOCK
        assert set(answers) == {PLAINTEXT}
        service.client().random(16)
        until_sealed(instance)
        yield Story(service, first, second, {"before": before, "after": after})


def test_what_was_not_archived_holds_alone_and_says_so(story: Story) -> None:
    said = audit(story.instance, "verify").stdout
    assert said.splitlines()[0] == f"Archived up to: {story.cut}"
    assert "The audit trail holds" in said


def test_with_all_archives_it_holds_from_its_first_event_on(story: Story) -> None:
    told = json.loads(audit(story.instance, "verify", *naming(story.second, story.first), "--json").stdout)
    assert (told["holds"], told["archived"]) == (True, str(story.cut))
    archived = [each["sequence"] for file in (story.first, story.second) for each in events_in(file)]
    assert archived == sorted(archived)
    assert (archived[0], archived[-1]) == (1, story.cut.sequence)
    assert len(archived) < told["events"] <= len(archived) + len(sequences(story.instance))


def test_archives_are_what_was_exported_before(story: Story) -> None:
    assert events_in(story.first) == story.exported["before"][:BLOCK]


def test_the_export_begins_after_the_cut(story: Story) -> None:
    everything = story.exported["before"][BLOCK:]
    assert story.exported["after"][: len(everything)] == everything


def test_that_it_was_archived_is_in_the_trail(story: Story) -> None:
    found = database_file.run(story.instance, "SELECT detail FROM events WHERE tag = 'trail:archived'")
    archived = [each["detail"] for each in events_in(story.second) if each["tag"] == "trail:archived"]
    cuts = [seal_in(each).head for each in (story.first, story.second)]
    assert [*archived, *(json.loads(detail) for (detail,) in found)] == [
        {"node": "", "sequence": cut.sequence, "digest": cut.digest.hex(), "events": len(events_in(file))}
        for cut, file in zip(cuts, (story.first, story.second), strict=True)
    ]


def test_a_head_that_was_archived_is_found_with_the_archives_alone(story: Story) -> None:
    kept = AuditHead(500, bytes.fromhex(story.exported["before"][499]["digest"]))
    audit(story.instance, "verify", "--expect-head", kept, *naming(story.first, story.second))
    said = audit(story.instance, "verify", "--expect-head", kept, expect=DOES_NOT_HOLD).stdout
    assert said.splitlines()[0] == f"Event 500: {BreakReason.HEAD_ARCHIVED.value}."


@pytest.mark.parametrize(
    ("named", "reason"),
    [("second", BreakReason.ARCHIVE_MISSING), ("first", BreakReason.CUT_ELSEWHERE)],
    ids=["the first", "the last"],
)
def test_an_archive_that_is_missing_is_told(story: Story, named: str, reason: BreakReason) -> None:
    found = verified(story.instance, getattr(story, named)).found
    assert found == [Break(seal_in(story.first).head.sequence, reason)]


def test_an_archive_that_is_named_twice_is_refused(story: Story) -> None:
    with pytest.raises(ArchiveUnusable, match="begin after the same event: name only one"):
        verified(story.instance, story.first, story.second, story.first)


def test_no_file_has_the_token_s_word_for_a_cut(story: Story) -> None:
    ((mac,),) = database_file.run(story.instance, "SELECT mac FROM audit_cuts")
    assert bytes(mac).hex() not in story.second.read_text()


def test_a_service_that_was_archived_logs_nothing_amiss(story: Story) -> None:
    amiss = [line for line in story.service.log_lines() if line["level"] in {"error", "critical"}]
    assert amiss == []


# --- the file ----------------------------------------------------------------------------------------------


def test_nothing_old_enough_is_no_archive(grown: Instance, file: Path) -> None:
    was = sequences(grown)
    assert json.loads(audit(grown, "archive", "--to", file, "--keep-days", 101, "--json").stdout) == {"archived": []}
    assert not file.exists()
    assert sequences(grown) == was


def make_file(path: Path) -> Path:
    path.write_text("what somebody needs\n")
    return path


def make_link(path: Path) -> Path:
    path.symlink_to(path.with_name("not there"))
    return path


def make_folder(path: Path) -> Path:
    path.mkdir()
    return path


def content_of(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (make_file, "there is something already"),
        (make_link, "there is something already"),
        (make_folder, "it is a folder"),
        (lambda path: path / "archive", "there is no folder"),
        (lambda path: path.with_name("x" * 300), "File name too long"),
        (lambda path: path.with_name("x" * 300) / "archive", "File name too long"),
        (lambda _: Path("/proc/archive"), "No such file or directory"),
    ],
    ids=["file", "link", "folder", "no folder", "long name", "folder of a long name", "nothing can be made there"],
)
def test_where_no_archive_can_be_nothing_is_removed(grown: Instance, file: Path, target: Any, words: str) -> None:
    was = sequences(grown)
    path = target(file)
    content = content_of(path)
    with pytest.raises(ArchiveUnusable, match=words):
        archive(grown, path)
    assert sequences(grown) == was
    assert content_of(path) == content
    assert database_file.run(grown, "SELECT * FROM audit_cuts") == []


def test_a_file_that_finds_no_room_leaves_nothing_and_removes_nothing(grown: Instance, file: Path) -> None:
    was = sequences(grown)
    words = (*HSMKMS, "audit", "archive", "--config", str(grown.config), "--to", str(file), "--keep-days", "0")
    limited = subprocess.run(
        ["prlimit", f"--fsize={FILE_BYTES}", *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert (limited.returncode, limited.stdout) == (UNUSABLE, ""), limited.stderr
    assert limited.stderr == f"hsmkms: The archive {file} cannot be written: File too large.\n"
    assert not file.exists()
    assert sequences(grown) == was


# --- what is altered ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Archived:
    """An instance that was archived once, and the archive."""

    instance: Instance
    file: Path


@pytest.fixture(scope="module")
def archived(grown: Instance, tmp_path_factory: pytest.TempPathFactory) -> Archived:
    """A copy that was archived by somebody whose files anybody may read and write."""
    folder = tmp_path_factory.mktemp("archived")
    made = Archived(grown.copy(folder / "instance"), folder / "archive")
    before = os.umask(0)
    try:
        archive(made.instance, made.file, 90)
    finally:
        os.umask(before)
    return made


def test_whoever_archives_is_the_only_one_to_read_it(archived: Archived) -> None:
    assert archived.file.stat().st_mode & 0o7777 == 0o600


def with_a_line_changed(content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    lines[776] = lines[776].replace(b'"detail"', b'"Detail"')
    return b"".join(lines)


def of_another_deployment(content: bytes) -> bytes:
    whose = str(json.loads(content.splitlines()[0])["deployment"])
    return content.replace(whose.encode(), OTHER_DEPLOYMENT.encode())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_a_line_changed, "Line 777 of the archive is not what was written there"),
        (lambda content: b"\xff" + content, "it is no text"),
        (of_another_deployment, "of another deployment"),
        (lambda content: content[: content.rindex(b'{"seal"')], "it is not whole"),
        (lambda content: content[:FILE_BYTES], "is not what was written there"),
        (lambda _: b"", "it is not whole"),
    ],
    ids=["line", "no text", "other deployment", "no seal", "half a line", "empty"],
)
def test_what_is_not_such_an_archive_is_refused(archived: Archived, file: Path, change: Any, words: str) -> None:
    file.write_bytes(change(archived.file.read_bytes()))
    with pytest.raises(ArchiveUnusable, match=f"^{file}: .*{words}|^The archive {file} .*{words}"):
        verified(archived.instance, file)


def test_what_is_no_file_is_refused(archived: Archived, file: Path) -> None:
    assert "No such file" in audit(archived.instance, "verify", *naming(file), expect=UNUSABLE).stderr
    os.mkfifo(file)
    with pytest.raises(ArchiveUnusable, match="it is no regular file"):
        verified(archived.instance, file)


def with_other_words(content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    assert json.loads(lines[901])["sequence"] == 900
    lines[901] = lines[901].replace(b'"bytes": 16', b'"bytes": 17')
    return b"".join(lines)


def with_another_mac(content: bytes) -> bytes:
    mac = str(json.loads(content.splitlines()[-1])["mac"])
    return content.replace(mac.encode(), secrets.token_bytes(32).hex().encode())


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (with_other_words, Break(900, BreakReason.DIGEST)),
        (with_another_mac, Break(1000, BreakReason.SEAL_FORGED)),
    ],
)
def test_other_words_in_the_right_form_are_told_by_the_event(
    archived: Archived, file: Path, change: Any, found: Break
) -> None:
    file.write_bytes(change(archived.file.read_bytes()))
    assert verified(archived.instance, file).found == [found]


def remove(instance: Instance, most: int) -> None:
    database_file.run(instance, "DELETE FROM events WHERE sequence <= ?", most)
    database_file.run(instance, "DELETE FROM audit_seals WHERE sequence <= ?", most)


def put_cut(instance: Instance, head: AuditHead, mac: bytes) -> None:
    database_file.run(instance, "DELETE FROM audit_cuts")
    database_file.run(instance, "INSERT INTO audit_cuts VALUES ('', ?, ?, ?)", head.sequence, head.digest, mac)


def without_a_cut(instance: Instance, _: AuditSeal) -> None:
    database_file.run(instance, "DELETE FROM audit_cuts")


def with_a_cut_of_nobody(instance: Instance, seal: AuditSeal) -> None:
    put_cut(instance, seal.head, secrets.token_bytes(32))


def with_the_seal_in_the_archive_for_a_cut(instance: Instance, seal: AuditSeal) -> None:
    put_cut(instance, seal.head, seal.mac)


def with_a_later_seal_for_a_cut(instance: Instance, _: AuditSeal) -> None:
    ((digest, mac),) = database_file.run(instance, "SELECT digest, mac FROM audit_seals WHERE sequence = 2000")
    remove(instance, 2000)
    put_cut(instance, AuditHead(2000, digest), mac)


def with_more_than_was_cut(instance: Instance, _: AuditSeal) -> None:
    remove(instance, 2000)


def with_an_earlier_cut_put_back(instance: Instance, seal: AuditSeal) -> None:
    ((mac,),) = database_file.run(instance, "SELECT mac FROM audit_cuts")
    archive(instance, instance.folder / "another")
    put_cut(instance, seal.head, mac)


def with_nothing_after_the_cut(instance: Instance, _: AuditSeal) -> None:
    remove(instance, last(instance, "events"))


@pytest.mark.parametrize(
    ("act", "found"),
    [
        (without_a_cut, Break(1001, BreakReason.DIGEST)),
        (with_a_cut_of_nobody, Break(1000, BreakReason.CUT_FORGED)),
        (with_the_seal_in_the_archive_for_a_cut, Break(1000, BreakReason.CUT_FORGED)),
        (with_a_later_seal_for_a_cut, Break(2000, BreakReason.CUT_FORGED)),
        (with_more_than_was_cut, Break(2001, BreakReason.DIGEST)),
        (with_an_earlier_cut_put_back, Break(2001, BreakReason.DIGEST)),
        (with_nothing_after_the_cut, Break(1000, BreakReason.ALL_GONE)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_whoever_deletes_events_as_if_they_were_archived_is_found(
    archived: Archived, tmp_path: Path, act: Any, found: Break
) -> None:
    copy = archived.instance.copy(tmp_path / "copy")
    act(copy, seal_in(archived.file))
    assert verified(copy).found[0] == found


def test_a_trail_that_does_not_hold_is_not_archived(copy: Instance, file: Path) -> None:
    remove(copy, BLOCK)
    was = sequences(copy)
    refused = audit(copy, "archive", "--to", file, "--keep-days", 0, expect=UNUSABLE)
    assert "does not hold, and is not archived" in refused.stderr
    assert not file.exists()
    assert sequences(copy) == was


# --- what is killed ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lasts(grown: Instance, tmp_path_factory: pytest.TempPathFactory) -> float:
    """How many seconds an archive takes that nobody interrupts."""
    folder = tmp_path_factory.mktemp("lasts")
    copy = grown.copy(folder / "copy")
    begun = time.monotonic()
    audit(copy, "archive", "--to", folder / "archive", "--keep-days", 0)
    return time.monotonic() - begun


@contextlib.contextmanager
def archiving(copy: Instance, file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Archive for the block, at whose end the command is killed."""
    command = (*HSMKMS, "audit", "archive", "--config", str(copy.config), "--to", str(file), "--keep-days", "0")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("count", range(KILLS))
def test_a_kill_at_any_moment_loses_no_event(
    grown: Instance, copy: Instance, file: Path, lasts: float, count: int
) -> None:
    share = (count + secrets.randbelow(1000) / 1000) / KILLS
    with archiving(copy, file) as process, contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(lasts * (0.4 + 0.6 * share))
    look_after_a_kill(copy, file, sequences(grown))


def is_half_written(_: Instance, file: Path) -> bool:
    return file.exists() and file.stat().st_size > FILE_BYTES


def is_cut(copy: Instance, file: Path) -> bool:
    return file.exists() and bool(database_file.run(copy, "SELECT * FROM audit_cuts"))


def is_partly_removed(copy: Instance, file: Path) -> bool:
    return file.exists() and bool(database_file.run(copy, "SELECT min(sequence) > 1 FROM events")[0][0])


@pytest.mark.parametrize("moment", [is_half_written, is_cut, is_partly_removed])
def test_a_kill_at_a_moment_that_matters_loses_no_event(
    grown: Instance, copy: Instance, file: Path, moment: Callable[[Instance, Path], bool]
) -> None:
    with archiving(copy, file) as process:
        while process.poll() is None and not moment(copy, file):
            """As near to the moment as can be: the command is faster than any pause."""
    was_cut = look_after_a_kill(copy, file, sequences(grown))
    assert was_cut or moment is is_half_written


def look_after_a_kill(copy: Instance, file: Path, was: set[int]) -> bool:
    """Do what an operator does with what a kill left; return whether the trail goes on after the file."""
    left, written = sequences(copy), {each["sequence"] for each in events_in(file)}
    assert left | written >= was
    if database_file.run(copy, "SELECT * FROM audit_cuts"):
        assert verified(copy, file).found == []
        assert archive(copy, file.with_name("again")) == 0
        assert min(sequences(copy)) == seal_in(file).head.sequence + 1
        return True
    assert left == was
    if file.exists():
        assert is_not_needed(copy, file)
        file.unlink()
    assert archive(copy, file) == len(was) - len(sequences(copy)) + 1
    assert verified(copy, file).found == []
    return False


def is_not_needed(copy: Instance, file: Path) -> bool:
    """Tell whether `hsmkms audit verify --archive` refuses it as a part, or finds that the database has it all."""
    try:
        (found,) = verified(copy, file).found
    except ArchiveUnusable:
        return True
    return found.reason is BreakReason.CUT_ELSEWHERE


def test_what_a_kill_left_to_remove_is_nobodys(grown: Instance, archived: Archived, tmp_path: Path) -> None:
    copy = archived.instance.copy(tmp_path / "copy")
    with contextlib.closing(sqlite3.connect(copy.database)) as database, database:
        database.execute("ATTACH ? AS before", (str(grown.database),))
        database.execute("INSERT INTO events SELECT * FROM before.events WHERE sequence BETWEEN 501 AND ?", (BLOCK,))
    assert exported(copy)[0]["sequence"] == 501, "the export hides nothing"
    assert verified(copy, archived.file).found == []
    assert archive(copy, tmp_path / "again", 90) == 0
    assert min(sequences(copy)) == BLOCK + 1


# --- several nodes -----------------------------------------------------------------------------------------


def test_one_archive_holds_the_trails_of_all_nodes(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("nodes")
    file = folder / "archive"
    with serving_nodes(postgres, folder / "softhsm") as nodes:
        for each in nodes.running:
            asyncio.run(_append(each.instance, uses(BLOCK + 500, days_ago=100)))
        ends = dict(nodes.ask("SELECT node, max(sequence) FROM events GROUP BY node"))
        assert set(ends) == {FIRST, "node-2"}

        def sealed() -> bool:
            seals = dict(nodes.ask("SELECT node, max(sequence) FROM audit_seals GROUP BY node"))
            return all(seals.get(node, 0) >= end for node, end in ends.items())

        until(sealed, "both trails are sealed")
        told = json.loads(audit(nodes.running[1].instance, "archive", "--to", file, "--keep-days", 0, "--json").stdout)[
            "archived"
        ]
        assert [each["node"] for each in told] == [FIRST, "node-2"]
        archived = [each["node"] for each in events_in(file)]
        assert [archived.count(each["node"]) for each in told] == [each["events"] for each in told]
        before = dict(nodes.ask("SELECT node, max(sequence) FROM events GROUP BY node"))
        for client in nodes.clients():
            client.random(16)

        def goes_on() -> bool:
            seals = dict(nodes.ask("SELECT node, max(sequence) FROM audit_seals GROUP BY node"))
            return all(seals.get(node, 0) > end for node, end in before.items())

        until(goes_on, "both nodes go on sealing")
        report = json.loads(audit(nodes.first, "verify", "--json", *naming(file)).stdout)
        assert report["holds"]
        assert [each["archived"] for each in report["nodes"]] == [each["cut"] for each in told]
