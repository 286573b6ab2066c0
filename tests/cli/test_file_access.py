"""Who may read and write the files that secrets are in, or depend on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from hsmkms import config, supervisor
from hsmkms.core.errors import ConfigurationInvalid, TokenUnusable
from hsmkms.hsm.settings import Duty
from hsmkms.supervisor import Supervisor
from hsmkms.wiring import file_access
from hsmkms.wiring.path_resolution import ways

if TYPE_CHECKING:
    from hsmkms.wiring.file_access import FileFinding

CONFIGURATION = """edition = "fips"

[listen]
tls_cert = "server.pem"
tls_key = "server.key"

[store]
url = "sqlite:///data/hsmkms.db"

[hsm]
module = "libsofthsm2.so"
token_label = "hsmkms"
pin_file = "pin"

[hsm.env]
SOFTHSM2_CONF = "PATH"
"""
FILES = (
    "server.pem",
    "server.key",
    "data/hsmkms.db",
    "data/hsmkms.db-wal",
    "data/hsmkms.db-shm",
    "pin",
    "softhsm2.conf",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole installation, as it should be."""
    folder = tmp_path / "installation"
    for name in (".", "data", "tokens", "nss"):
        (folder / name).mkdir(0o700)
    for name in (*FILES, "libsofthsm2.so"):
        (folder / name).touch(0o600)
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\n")
    (folder / "hsmkms.toml").touch(0o600)
    (folder / "hsmkms.toml").write_text(CONFIGURATION.replace("PATH", str(folder / "softhsm2.conf")))
    return folder


def looked(folder: Path) -> tuple[FileFinding, ...]:
    path = folder / "hsmkms.toml"
    return file_access.look(config.load(path), path)


def test_what_is_as_it_should_be_is_listed_and_nothing_is_to_do(folder: Path) -> None:
    found = looked(folder)
    file_access.require_private(found)
    assert [each.cure for each in found] == [""] * len(found)
    listed = {each.path for each in found}
    wanted = {folder / name for name in (*FILES, "hsmkms.toml", "libsofthsm2.so", "tokens", "data")}
    assert listed == wanted - {folder / "server.pem"}, "a certificate is public"


@pytest.mark.parametrize(
    ("name", "mode", "cure"),
    [
        ("pin", 0o640, "g-r"),
        ("pin", 0o604, "o-r"),
        ("pin", 0o610, "g-x"),
        ("hsmkms.toml", 0o620, "g-w"),
        ("hsmkms.toml", 0o602, "o-w"),
        ("libsofthsm2.so", 0o777, "g-w,o-w"),
        ("softhsm2.conf", 0o664, "g-w"),
        ("tokens", 0o755, "g-rx,o-rx"),
        ("tokens", 0o701, "o-x"),
        ("server.key", 0o644, "o-r"),
        ("server.key", 0o660, "g-w"),
        (".", 0o770, "g-w"),
        ("data", 0o770, "g-w"),
        ("data", 0o1777, "g-w,o-w"),
    ],
)
def test_what_others_must_not_touch_is_refused_with_its_cure(folder: Path, name: str, mode: int, cure: str) -> None:
    path = folder / name
    path.chmod(mode)
    found = looked(folder)
    with pytest.raises(ConfigurationInvalid) as refused:
        file_access.require_private(found)
    assert f"{path} has mode {mode:04o}" in refused.value.message
    assert refused.value.message.endswith(f"run 'chmod {cure} {path}'.")
    path.chmod(mode & ~bits_of(cure))
    file_access.require_private(looked(folder))


def bits_of(cure: str) -> int:
    """Return the mode bits that a cure takes away."""
    bits = 0
    for part in cure.split(","):
        who, _, letters = part.partition("-")
        bits |= sum({"r": 4, "w": 2, "x": 1}[letter] for letter in letters) << (3 if who == "g" else 0)
    return bits


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("pin", 0o400),
        ("hsmkms.toml", 0o644),
        ("libsofthsm2.so", 0o755),
        ("softhsm2.conf", 0o644),
        ("server.key", 0o640),
        (".", 0o755),
        (".", 0o1777),
        ("data", 0o755),
    ],
)
def test_what_does_no_harm_is_let_pass(folder: Path, name: str, mode: int) -> None:
    (folder / name).chmod(mode)
    assert [each.cure for each in looked(folder)].count("") == len(looked(folder))


HELD = ("hsmkms.toml", "pin", "server.key", "data/hsmkms.db", "libsofthsm2.so", "softhsm2.conf", "tokens")
"""What another user must not be able to replace."""


def moved(path: Path, to: Path) -> None:
    """Move a file or folder, and leave a symbolic link to it."""
    to.mkdir(0o700, exist_ok=True)
    path.rename(to / path.name)
    path.symlink_to(to / path.name)


@pytest.mark.parametrize("name", HELD)
def test_every_folder_on_the_way_to_a_file_is_looked_at(folder: Path, name: str) -> None:
    (folder / "elsewhere").mkdir(0o700)
    moved(folder / name, folder / "elsewhere" / "inner")
    file_access.require_private(looked(folder))
    (folder / "elsewhere").chmod(0o777)
    with pytest.raises(ConfigurationInvalid) as refused:
        file_access.require_private(looked(folder))
    assert refused.value.message.endswith(f"run 'chmod g-w,o-w {folder / 'elsewhere'}'.")
    assert refused.value.message.count("run 'chmod") == 1
    (folder / "elsewhere").chmod(0o1777)
    file_access.require_private(looked(folder))


@pytest.mark.parametrize("name", HELD)
def test_the_folder_of_a_symbolic_link_counts_as_that_of_its_target(folder: Path, name: str, tmp_path: Path) -> None:
    links = tmp_path / "links"
    moved(folder / name, tmp_path / "elsewhere")
    moved(folder / name, links)
    file_access.require_private(looked(folder))
    links.chmod(0o770)
    with pytest.raises(ConfigurationInvalid, match=f"chmod g-w {links}'"):
        file_access.require_private(looked(folder))


def test_the_configuration_may_be_named_through_a_symbolic_link(folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "etc" / "hsmkms.toml"
    link.parent.mkdir(0o700)
    link.symlink_to(folder / "hsmkms.toml")
    file_access.require_private(file_access.look(config.load(link), link))
    link.parent.chmod(0o777)
    with pytest.raises(ConfigurationInvalid, match=f"chmod g-w,o-w {link.parent}'"):
        file_access.require_private(file_access.look(config.load(link), link))


@pytest.mark.parametrize("link", ["data/hsmkms.db", "data"])
@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_the_folder_that_holds_the_journal_is_that_of_the_database_itself(
    folder: Path, tmp_path: Path, link: str, mode: int
) -> None:
    moved(folder / link, tmp_path / "elsewhere")
    real = (folder / "data" / "hsmkms.db").resolve().parent
    real.chmod(mode)
    found = looked(folder)
    assert [each.path for each in found if each.refused] == [real]
    assert {each.path for each in found if each.what == "database"} >= {real / "hsmkms.db"}
    with pytest.raises(ConfigurationInvalid, match=f"chmod g-w,o-w {real}'"):
        file_access.require_private(found)


@pytest.mark.parametrize("linked", [True, False])
def test_a_sticky_bit_keeps_only_what_is_ours(folder: Path, linked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = folder / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    moved(folder / "libsofthsm2.so", shared / "ours")
    if linked:
        (shared / "link").symlink_to(shared / "ours")
        (folder / "libsofthsm2.so").unlink()
        (folder / "libsofthsm2.so").symlink_to(shared / "link" / "libsofthsm2.so")
    file_access.require_private(looked(folder))
    foreign = shared / ("link" if linked else "ours")
    number = foreign.lstat().st_ino
    monkeypatch.setattr(file_access, "_is_foreign", lambda status: status.st_ino == number)
    with pytest.raises(ConfigurationInvalid, match=f"run 'chown -h 0 {foreign}'"):
        file_access.require_private(looked(folder))


def test_a_path_that_goes_round_in_circles_ends(folder: Path) -> None:
    for name, target in (("pin", "circle"), ("circle", "pin")):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)
    assert "PIN file" not in {each.what for each in looked(folder)}
    assert len(list(ways(folder / "pin"))) < 100


@pytest.mark.parametrize("name", ["hsmkms.db", "hsmkms.db-wal", "hsmkms.db-shm"])
def test_a_database_is_judged_by_who_can_come_to_it(folder: Path, name: str) -> None:
    path = folder / "data" / name
    path.chmod(0o644)
    assert not any(each.cure for each in looked(folder)), "its folder is closed"
    (folder / "data").chmod(0o711)
    found = looked(folder)
    assert [(each.path, each.cure, each.refused) for each in found if each.cure] == [
        (path, f"chmod g-r,o-r {path}", False)
    ]
    file_access.require_private(found)
    path.chmod(0o606)
    with pytest.raises(ConfigurationInvalid, match="chmod o-rw"):
        file_access.require_private(looked(folder))


def test_a_file_that_belongs_to_another_user_is_refused_whatever_its_mode(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_access, "_trusted_owners", lambda: (999,))
    with pytest.raises(ConfigurationInvalid) as refused:
        file_access.require_private(looked(folder))
    assert f"run 'chown 999 {folder / 'pin'}'." in refused.value.message


def test_a_token_of_nss_is_found_by_its_parameters(folder: Path) -> None:
    path = folder / "hsmkms.toml"
    settings = config.load(path)
    hsm = settings.hsm.model_copy(
        update={"module": folder / "libsoftokn3.so", "initialize_args": f"configdir='sql:{folder / 'nss'}' flags="}
    )
    (folder / "nss").chmod(0o750)
    found = file_access.look(settings.model_copy(update={"hsm": hsm}), path)
    assert [each.cure for each in found if each.what == "token folder"] == [f"chmod g-rx {folder / 'nss'}"]


def test_every_refusal_is_said_at_once(folder: Path) -> None:
    (folder / "pin").chmod(0o644)
    (folder / "tokens").chmod(0o777)
    with pytest.raises(ConfigurationInvalid) as refused:
        file_access.require_private(looked(folder))
    assert refused.value.message.count("run 'chmod") == 2


def test_a_device_holds_nothing(folder: Path) -> None:
    path = folder / "hsmkms.toml"
    settings = config.load(path)
    listen = settings.listen.model_copy(update={"tls_key": Path(os.devnull)})
    found = file_access.look(settings.model_copy(update={"listen": listen}), path)
    assert "TLS key" not in {each.what for each in found}


def test_a_pin_comes_from_a_file_and_not_from_a_pipe_or_a_terminal(folder: Path) -> None:
    path, pipe = folder / "hsmkms.toml", folder / "pipe"
    settings = config.load(path)
    os.mkfifo(pipe)
    for place in (pipe, Path(os.devnull)):
        with pytest.raises(ConfigurationInvalid, match=f"The security officer's PIN file {place} is no regular file"):
            file_access.look(settings, path, so_pin_file=place)
        hsm = settings.hsm.model_copy(update={"pin_file": place})
        with pytest.raises(ConfigurationInvalid, match=f"The PIN file {place} is no regular file"):
            file_access.look(settings.model_copy(update={"hsm": hsm}), path)
    file_access.look(settings, path, so_pin_file=folder / "not there")


async def test_no_host_is_started_again_once_its_module_could_be_replaced(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []

    async def spawn(*_: object, **__: object) -> NoReturn:
        started.append(None)
        raise TokenUnusable("the control")

    monkeypatch.setattr(supervisor, "spawn_host", spawn)
    path = folder / "hsmkms.toml"
    supervised = Supervisor(config.load(path), path)
    assert await supervised._respawned("host-1", Duty.OPERATIONS) is None
    assert len(started) == 1
    folder.chmod(0o777)  # noqa: ASYNC240 - nothing else runs here
    with pytest.raises(ConfigurationInvalid, match=f"chmod g-w,o-w {folder}"):
        await supervised._respawned("host-1", Duty.OPERATIONS)
    assert len(started) == 1
