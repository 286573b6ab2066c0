"""The unit, the example configurations and the README's commands describe one and the same installation."""

from __future__ import annotations

import configparser
import re
import shlex
import tomllib
from pathlib import Path, PurePosixPath
from typing import Final

from hsmkms import config, supervisor
from hsmkms.service.auditing import TrailLimits
from hsmkms.store.urls import file_of
from hsmkms.wiring.web_process import LAST_SEAL_SECONDS

ROOT: Final = Path(__file__).parents[1]
README: Final = (ROOT / "README.md").read_text()
COMMANDS: Final = "".join(re.findall(r"^```sh\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)).replace("\\\n", "")


def unit() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's keys have capitals
    parser.read(ROOT / "conf" / "hsmkms.service")
    return parser["Service"]


def configuration_path() -> Path:
    return Path(re.findall(r"--config (\S+)", unit()["ExecStart"])[0])


def settings() -> config.Settings:
    """Return the example as the service would load it from where the unit says."""
    return config.parse(configuration_path(), (ROOT / "conf" / "hsmkms.example.toml").read_text())


def writable() -> Path:
    assert unit()["ProtectSystem"] == "strict"
    assert "ReadWritePaths" not in unit()
    return Path("/var/lib") / unit()["StateDirectory"]


def test_what_the_service_writes_is_where_the_unit_lets_it() -> None:
    assert file_of(settings().store.url).parent == writable()
    softhsm = dict(
        line.split(" = ")
        for line in (ROOT / "conf" / "softhsm2.example.conf").read_text().splitlines()
        if " = " in line
    )
    assert writable() in Path(softhsm["directories.tokendir"]).parents
    (nss,) = re.findall(r"configdir='sql:([^']+)'", (ROOT / "conf" / "hsmkms.example.toml").read_text())
    assert writable() in Path(nss).parents


def test_what_the_service_reads_is_beside_its_configuration() -> None:
    folder = configuration_path().parent
    name, _, pin = unit()["LoadCredential"].partition(":")
    assert name == settings().hsm.pin_credential
    assert Path(pin).parent == folder
    assert Path(settings().hsm.env["SOFTHSM2_CONF"]).parent == folder


def test_systemd_waits_longer_than_the_service_takes_to_stop() -> None:
    assert int(unit()["TimeoutStopSec"]) > settings().listen.shutdown_seconds + supervisor._GRACE_SECONDS


def test_the_web_process_has_the_time_to_write_and_seal_its_last_events() -> None:
    assert TrailLimits().last_seconds + LAST_SEAL_SECONDS + 1 <= supervisor._GRACE_SECONDS


def test_the_readme_installs_what_the_unit_starts() -> None:
    lines = [shlex.split(line, comments=True) for line in COMMANDS.splitlines() if "(umask" not in line]
    words = {word for line in lines for word in line}
    program = PurePosixPath(unit()["ExecStart"].split()[0])
    assert ["/usr/bin/python3", "-m", "venv", str(program.parents[1])] in lines
    assert {str(program), str(writable()), str(configuration_path()), settings().hsm.env["SOFTHSM2_CONF"]} <= words
    loading = f"LoadCredential={unit()['LoadCredential']}"
    assert [f"User={unit()['User']}", "-p", loading, str(program)] == next(
        line[line.index("-p") + 1 : line.index("$@")] for line in lines if "systemd-run" in line
    )
    assert f">{loading.partition(':')[2]})" in COMMANDS, "the PIN is written where the unit has it from"
    assert f"useradd --system --user-group --home-dir {writable()}" in COMMANDS
    users = {line[line.index("-u") + 1] for line in lines if line[:1] == ["runuser"]}
    assert users == {unit()["User"]}
    label = next(line for line in lines if "softhsm2-util" in line)
    assert label[label.index("--label") + 1] == settings().hsm.token_label
    for word in words:
        if word.startswith(("conf/", "requirements/")):
            assert (ROOT / word).is_file(), word


def test_every_installation_is_from_a_lock_or_from_our_own_wheel() -> None:
    installs = [line for line in COMMANDS.splitlines() if re.search(r"\bpip\"? (install|wheel)", line)]
    assert len(installs) == 4
    for line in installs:
        assert "--require-hashes" in line or {"--no-deps", "--no-index"} <= set(line.split()), line


def test_the_build_lock_is_enough_to_build() -> None:
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    locked = (ROOT / "requirements" / "build.txt").read_text()
    for requirement in required:
        (name,) = re.findall(r"^[a-z]+", requirement)
        assert f"\n{name}==" in locked
