"""Real tokens for tests: SoftHSM and NSS softoken, each in a directory of its own."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from hsmkms.core.custody import SEALING_ROLES, CustodyObject, CustodyRole, Deployment
from hsmkms.core.ids import Instant
from hsmkms.core.material import Edition
from hsmkms.hsm.channel import HostChannel
from hsmkms.hsm.settings import HostPurpose, HostSettings
from hsmkms.hsm.spawn import HostProcess, spawn_host

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


SOFTHSM_MODULES: Final = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/*-linux-gnu/softhsm/libsofthsm2.so")
NSS_MODULES: Final = ("/usr/lib/*-linux-gnu/libsoftokn3.so", "/usr/lib/*-linux-gnu/nss/libsoftokn3.so")
PIN: Final = "testing-pin-1"
SO_PIN: Final = "testing-so-pin-1"
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

    @property
    def so_pin_file(self) -> str:
        """The file that holds the security officer's PIN; NSS has none."""
        return str(self.directory / "so-pin")


def _pin_file(directory: Path, name: str = "pin", pin: str = PIN) -> str:
    path = directory / name
    path.write_text(pin)
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
    _pin_file(directory, "so-pin", SO_PIN)
    return token


def add_softhsm_token(token: TestToken, label: str) -> None:
    """Make one more token labelled `label` in the same directory."""
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", SO_PIN],
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


def planned(edition: Edition, serial: str = "", *, transferable: bool = False) -> Deployment:
    """Return a deployment as the database plans it before `init`."""
    objects = tuple(
        CustodyObject(role, uuid.uuid4().bytes, transferable=transferable and role is CustodyRole.MATERIAL_SEALING)
        for role in CustodyRole
    )
    return Deployment(
        str(uuid.uuid4()), edition, ready=False, created_at=Instant(0), token_serial=serial, objects=objects
    )


async def start(token: TestToken, edition: Edition, **changed: object) -> HostProcess:
    """Return a host that has logged in."""
    host = await spawn_host(token.host_settings(edition, **changed), f"test host {next(_numbers)}")
    await host.ready()
    return host


def next_keys(deployment: Deployment, *, transferable: bool = False) -> tuple[CustodyObject, ...]:
    """Return the sealing keys of the next version as the database plans them."""
    version = deployment.sealing_version + 1
    return tuple(
        CustodyObject(
            role,
            uuid.uuid4().bytes,
            version=version,
            transferable=transferable and role is CustodyRole.MATERIAL_SEALING,
        )
        for role in SEALING_ROLES
    )


@asynccontextmanager
async def channel_to(
    token: TestToken, edition: Edition = Edition.FIPS, purpose: HostPurpose = HostPurpose.SERVE, **changed: object
) -> AsyncIterator[HostChannel]:
    """Run a host that has logged in, and is not attached, for as long as the block runs."""
    host = await start(token, edition, purpose=purpose, **changed)
    channel = await HostChannel.open(host.name, host.socket)
    try:
        yield channel
    finally:
        await channel.close()
        await host.wait()


async def rotated(token: TestToken, deployment: Deployment, *, transferable: bool = False) -> Deployment:
    """Return the deployment with the next version's sealing keys made in the token."""
    keys = next_keys(deployment, transferable=transferable)
    async with channel_to(token, deployment.edition, HostPurpose.INIT) as channel:
        made = await channel.make_sealing_keys(deployment, keys)
    return replace(deployment, objects=(*deployment.objects, *made))


def without(deployment: Deployment, version: int) -> Deployment:
    """Return the deployment without the sealing keys of a version."""
    kept = tuple(each for each in deployment.objects if each.role not in SEALING_ROLES or each.version != version)
    return replace(deployment, objects=kept)


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
