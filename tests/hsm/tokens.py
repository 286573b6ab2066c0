"""Real tokens for tests: SoftHSM and NSS softoken, each in a directory of its own."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from hsmkms.core.custody import CustodyObject, CustodyRole, Deployment
from hsmkms.core.ids import Instant
from hsmkms.hsm.channel import HostChannel
from hsmkms.hsm.settings import HostPurpose, HostSettings
from hsmkms.hsm.spawn import HostProcess, spawn_host

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsmkms.core.material import Edition

SOFTHSM_MODULES: Final = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/*-linux-gnu/softhsm/libsofthsm2.so")
NSS_MODULES: Final = ("/usr/lib/*-linux-gnu/libsoftokn3.so", "/usr/lib/*-linux-gnu/nss/libsoftokn3.so")
PIN: Final = "testing-pin-1"
NSS_LABEL: Final = "NSS Certificate DB"

_numbers = itertools.count(1)


def module_path(patterns: Sequence[str]) -> str:
    """Return the module that the distribution installed."""
    for pattern in patterns:
        for path in sorted(Path("/").glob(pattern.lstrip("/"))):
            return str(path)
    raise FileNotFoundError(patterns)


@dataclass(frozen=True)
class TestToken:
    """A token and how to start hosts on it."""

    __test__ = False

    kind: str
    directory: Path
    settings: dict[str, object]
    env: dict[str, str] = field(default_factory=dict)

    def host_settings(self, edition: Edition, **changed: object) -> HostSettings:
        """Return settings for a host of this token."""
        return msgspec.convert({**self.settings, "edition": edition, "env": self.env, **changed}, HostSettings)


def _pin_file(directory: Path) -> str:
    path = directory / "pin"
    path.write_text(PIN)
    path.chmod(0o400)
    return str(path)


def make_softhsm(directory: Path, label: str = "hsmkms-test") -> TestToken:
    """Make a SoftHSM token below `directory`."""
    tokens = directory / "tokens"
    tokens.mkdir(parents=True)
    configuration = directory / "softhsm2.conf"
    configuration.write_text(
        f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n"
    )
    env = {"SOFTHSM2_CONF": str(configuration)}
    token = TestToken(
        "softhsm",
        directory,
        {"module": module_path(SOFTHSM_MODULES), "token_label": label, "pin_file": _pin_file(directory)},
        env,
    )
    add_softhsm_token(token, label)
    return token


def add_softhsm_token(token: TestToken, label: str) -> None:
    """Make one more token labelled `label` in the same directory."""
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", PIN],
        env=token.env,
        check=True,
        capture_output=True,
        timeout=30,
    )


def make_nss(directory: Path) -> TestToken:
    """Make an NSS database below `directory`; its user token is our token."""
    database = directory / "nssdb"
    database.mkdir(parents=True)
    pin_file = _pin_file(directory)
    subprocess.run(
        ["certutil", "-N", "-d", f"sql:{database}", "-f", pin_file], check=True, capture_output=True, timeout=30
    )
    parameters = f"configdir='sql:{database}' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
    return TestToken(
        "nss",
        directory,
        {
            "module": module_path(NSS_MODULES),
            "token_label": NSS_LABEL,
            "pin_file": pin_file,
            "initialize_args": parameters,
        },
    )


def copy_of(token: TestToken, directory: Path) -> TestToken:
    """Return a copy of a SoftHSM token, to be damaged."""
    shutil.copytree(token.directory, directory)
    configuration = directory / "softhsm2.conf"
    configuration.write_text(configuration.read_text().replace(str(token.directory), str(directory)))
    return TestToken(
        token.kind,
        directory,
        {**token.settings, "pin_file": str(directory / "pin")},
        {"SOFTHSM2_CONF": str(configuration)},
    )


def planned(edition: Edition, serial: str = "") -> Deployment:
    """Return a deployment as the database plans it before `init`."""
    objects = tuple(CustodyObject(role, uuid.uuid4().bytes) for role in CustodyRole)
    return Deployment(
        str(uuid.uuid4()), edition, ready=False, created_at=Instant(0), token_serial=serial, objects=objects
    )


async def start(token: TestToken, edition: Edition, **changed: object) -> HostProcess:
    """Return a host that has logged in."""
    host = await spawn_host(token.host_settings(edition, **changed), f"test host {next(_numbers)}")
    await host.ready()
    return host


async def initialised(token: TestToken, deployment: Deployment) -> Deployment:
    """Return the deployment with its objects made in the token."""
    host = await start(token, deployment.edition, purpose=HostPurpose.INIT)
    channel = await HostChannel.open(host.name, host.socket)
    try:
        objects = await channel.initialise(deployment)
    finally:
        await channel.close()
        await host.wait()
    token_description = await host.ready()
    return Deployment(
        deployment.deployment_id,
        deployment.edition,
        ready=True,
        created_at=deployment.created_at,
        token_serial=token_description.serial,
        objects=objects,
    )
