"""Where the PIN comes from, before any host is started."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hsmkms import config
from hsmkms.core.errors import ConfigurationInvalid
from hsmkms.hsm.settings import HostPurpose
from hsmkms.wiring import pins
from hsmkms.wiring.adapters import host_settings
from tests.cli.test_configuration import GOOD

if TYPE_CHECKING:
    from hsmkms.config import Settings

PIN = b"123456\n"


def settings(key: str, value: object) -> Settings:
    return config.parse(Path("/etc/hsmkms.toml"), GOOD.replace('pin_file = "pin"', f"{key} = {value}"))


def inheritable(number: int) -> int:
    os.set_inheritable(number, True)
    return number


def piped(content: bytes) -> tuple[int, int]:
    reading, writing = os.pipe()
    os.write(writing, content)
    return inheritable(reading), writing


def taken(number: int) -> int:
    """Return the descriptor that hosts are to inherit."""
    found = host_settings(pins.taken(settings("pin_fd", number)), HostPurpose.SERVE)
    assert (found.pin_file, found.pin_key) == (None, "hsm.pin_fd")
    assert found.pin_fd is not None
    return found.pin_fd


def is_what_hosts_need(kept: int) -> None:
    """Assert that every host can read the PIN, none can change it, and only those get it to whom it is handed."""
    for _ in range(2):
        assert os.pread(kept, 100, 0) == PIN
    with pytest.raises(PermissionError):
        os.pwrite(kept, b"x", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(kept, 0)
    assert not os.get_inheritable(kept)
    os.close(kept)


def test_what_came_through_a_pipe_can_be_read_again_and_again() -> None:
    reading, writing = piped(PIN)
    os.close(writing)
    kept = taken(reading)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(reading)
    is_what_hosts_need(kept)


def test_a_file_is_read_from_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "pin").write_bytes(PIN)
    number = inheritable(os.open(tmp_path / "pin", os.O_RDONLY))
    os.lseek(number, 3, os.SEEK_SET)
    is_what_hosts_need(taken(number))


def test_a_descriptor_of_our_own_is_never_taken_for_the_inherited_one(tmp_path: Path) -> None:
    with (tmp_path / "hsmkms.db").open("wb") as ours:
        with pytest.raises(ConfigurationInvalid, match="was not inherited"):
            pins.taken(settings("pin_fd", ours.fileno()))
        os.fstat(ours.fileno())


def test_what_is_neither_pipe_nor_file_is_refused(tmp_path: Path) -> None:
    number = inheritable(os.open(tmp_path, os.O_RDONLY))
    with pytest.raises(ConfigurationInvalid, match="neither a pipe nor a file"):
        pins.taken(settings("pin_fd", number))
    os.close(number)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    number = inheritable(os.open(tmp_path / "pin", os.O_WRONLY | os.O_CREAT))
    with pytest.raises(ConfigurationInvalid, match=rf"descriptor {number} cannot be read"):
        pins.taken(settings("pin_fd", number))
    os.close(number)


def test_a_pipe_that_nobody_closes_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins, "_PATIENCE_SECONDS", 0.01)
    reading, writing = piped(PIN)
    with pytest.raises(ConfigurationInvalid, match="did not end"):
        pins.taken(settings("pin_fd", reading))
    os.close(reading)
    os.close(writing)


def test_a_credential_is_a_file_in_the_folder_that_systemd_names(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = settings("pin_credential", '"user-pin"')
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigurationInvalid, match="LoadCredential=user-pin:PATH"):
        host_settings(wanted, HostPurpose.SERVE)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/hsmkms.service")
    found = host_settings(pins.taken(wanted), HostPurpose.SERVE)
    assert (found.pin_file, found.pin_fd) == ("/run/credentials/hsmkms.service/user-pin", None)
    assert found.pin_key == "hsm.pin_credential"


def test_a_file_is_named_as_it_is() -> None:
    found = host_settings(pins.taken(settings("pin_file", '"pin"')), HostPurpose.SERVE)
    assert (found.pin_file, found.pin_fd, found.pin_key) == ("/etc/pin", None, "hsm.pin_file")
