"""What is wrong with an installation is said in one sentence, with exit code 78, and nothing is changed or left."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import socket
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.running import hsmkms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.running import Instance

UNUSABLE: Final = 78
_IN_ACCESS: Final = 1
_IN_NONBLOCK: Final = 0o4000
_EVENT_BYTES: Final = 16


def sentence_of(command: str, config: Path, *arguments: str) -> str:
    """Run a command that must refuse, and return the one sentence it says; its log has nothing to add."""
    done = hsmkms(command, *arguments, "--config", str(config), expect=UNUSABLE)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    logged = [line for line in lines if line.startswith("{")]
    assert {json.loads(line)["level"] for line in logged} <= {"info"}, logged
    (line,) = (line for line in lines if line not in logged)
    assert line.startswith("hsmkms: ")
    assert line.endswith(".")
    return line


@contextlib.contextmanager
def readings(path: Path) -> Iterator[list[bytes]]:
    """Record every read of a file's content (inotify(7)), whoever reads it."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(_IN_NONBLOCK)
    assert watch >= 0
    assert libc.inotify_add_watch(watch, os.fsencode(path), _IN_ACCESS) >= 0
    seen: list[bytes] = []
    try:
        yield seen
        with contextlib.suppress(BlockingIOError):
            # One event at a time: equal events are merged only while the earlier one is the last in the queue.
            while event := os.read(watch, _EVENT_BYTES):
                seen.append(event)
    finally:
        os.close(watch)


def test_a_wrong_pin_is_tried_once(instance: Instance) -> None:
    wrong = instance.folder / "wrong-pin"
    wrong.write_text("0000000000000000\n")
    wrong.chmod(0o400)
    config = instance.variant("wrong-pin", {'pin_file = "pin"': 'pin_file = "wrong-pin"'}).config
    for command in ("serve", "init"):
        with readings(wrong) as seen:
            line = sentence_of(command, config)
        assert "refused the PIN" in line
        assert "tried once" in line
        assert "hsm.pin_file" in line
        assert len(seen) == 1, "each try reads the PIN"
    assert "already initialised" in hsmkms("init", "--config", str(instance.config)).stdout, "the token is not locked"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('token_label = "hsmkms"', 'token_label = "nobody"', ("'nobody'", "hsm.token_label")),
        ('pin_file = "pin"', 'pin_file = "nothing"', ("hsm.pin_file",)),
        ('pin_file = "pin"', 'pin_file = "/dev/null"', ("/dev/null", "no regular file")),
        ("softhsm2.conf", "nothing.conf", ("hsm.env",)),
        ("sqlite:///hsmkms.db", "sqlite:///nothing.db", ("hsmkms init",)),
        ("sqlite:///hsmkms.db", "sqlite:///pin", ("not a database", "store.url")),
        ('edition = "fips"', 'edition = "sm"', ("edition", "fips")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_missing_or_another_is_named(instance: Instance, old: str, new: str, says: tuple[str, ...]) -> None:
    config = instance.variant("changed", {old: new}).config
    line = sentence_of("serve", config)
    assert all(word in line for word in says), line
    assert not (instance.folder / "nothing.db").exists()


@pytest.mark.parametrize("module", ["nothing.so", "pin", "/lib/x86_64-linux-gnu/libc.so.6"])
def test_a_module_that_is_none(instance: Instance, module: str) -> None:
    if module.startswith("/"):
        module = next(
            line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libc.so" in line
        )
    text = instance.config.read_text()
    (old,) = [line for line in text.splitlines() if line.startswith("module = ")]
    assert "hsm.module" in sentence_of("serve", instance.variant("module", {old: f'module = "{module}"'}).config)


def test_a_taken_port(instance: Instance) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = sentence_of("serve", instance.variant("taken", {f"port = {instance.port}": f"port = {port}"}).config)
    assert str(port) in line
    assert "listen.port" in line


@pytest.mark.parametrize(
    ("command", "statement", "says"),
    [
        ("serve", "UPDATE hsmkms_schema SET version_num = '9999'", "newer"),
        ("init", "UPDATE hsmkms_schema SET version_num = '9999'", "newer"),
        ("init", "DROP TABLE hsmkms_schema", "another program"),
        ("serve", "DROP TABLE audit_seals", "lacks the table audit_seals"),
        ("init", "DROP TABLE keys", "lacks the table keys"),
    ],
)
def test_a_database_of_another_version_or_program_or_a_damaged_one(
    instance: Instance, command: str, statement: str, says: str
) -> None:
    other = instance.folder / "other.db"
    other.unlink(missing_ok=True)
    with (
        contextlib.closing(sqlite3.connect(instance.database)) as source,
        contextlib.closing(sqlite3.connect(other)) as copy,
    ):
        source.backup(copy)
        copy.execute(statement)
        copy.commit()
        copy.execute("PRAGMA journal_mode=DELETE")
    before = other.read_bytes()
    config = instance.variant("other", {"sqlite:///hsmkms.db": "sqlite:///other.db"}).config
    line = sentence_of(command, config)
    assert says in line
    assert "other.db" in line
    assert other.read_bytes() == before


def test_an_empty_database_is_left_to_init(instance: Instance) -> None:
    empty = instance.folder / "empty.db"
    empty.touch()
    config = instance.variant("empty", {"sqlite:///hsmkms.db": "sqlite:///empty.db"}).config
    assert "hsmkms init" in sentence_of("serve", config)
    assert empty.read_bytes() == b""


def test_tls_files_that_are_none(instance: Instance, tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    shutil.copy(instance.config, junk)
    junk.chmod(0o600)
    lines = f'tls_cert = "{junk}"\ntls_key = "{junk}"\n'
    line = sentence_of("serve", instance.variant("tls", {"[listen]\n": f"[listen]\n{lines}"}).config)
    assert "listen.tls_cert" in line
