"""How a host process starts, and every way in which it cannot."""

from __future__ import annotations

import _ctypes
import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.errors import PinRefused, TokenUnusable
from hsmkms.core.material import Edition
from hsmkms.hsm.settings import HostExit
from hsmkms.hsm.spawn import spawn_host
from tests.e2e.bystander import UNPRIVILEGED
from tests.hsm import tokens

if TYPE_CHECKING:
    from tests.hsm.tokens import TestToken

pytestmark = pytest.mark.asyncio(loop_scope="session")

FIPS = Edition.FIPS


async def refusal(token: TestToken, **changed: object) -> str:
    host = await spawn_host(token.host_settings(FIPS, **changed), "refused")
    with pytest.raises(TokenUnusable) as raised:
        await host.ready()
    assert await host.wait() == HostExit.UNUSABLE
    host.socket.close()
    return raised.value.message


@pytest.mark.parametrize("kind", ["softhsm", "nss"])
async def test_a_host_says_which_token_it_has(request: pytest.FixtureRequest, kind: str) -> None:
    token: TestToken = request.getfixturevalue(kind)
    host = await spawn_host(token.host_settings(FIPS), "describing")
    description = await host.ready()
    assert description.label == token.settings["token_label"]
    assert description.serial
    assert description.module == token.settings["module"]
    assert await host.ready() == description
    host.socket.close()
    assert await host.wait() == HostExit.ORPHANED


@pytest.mark.parametrize("kind", ["softhsm", "nss"])
async def test_a_wrong_pin_is_refused_after_one_try(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> None:
    token: TestToken = request.getfixturevalue(kind)
    wrong = tmp_path / "pin"
    wrong.write_text("not-the-pin-1")
    host = await spawn_host(token.host_settings(FIPS, pin_file=str(wrong)), "refused")
    with pytest.raises(PinRefused):
        await host.ready()
    assert await host.wait() == HostExit.UNUSABLE
    host.socket.close()


async def test_a_newline_after_the_pin_does_not_matter(softhsm: TestToken, tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    pin.write_text(tokens.PIN + "\n")
    host = await tokens.start(softhsm, FIPS, pin_file=str(pin))
    host.socket.close()
    await host.wait()


async def test_a_missing_module_is_named(softhsm: TestToken) -> None:
    assert "'/nowhere/module.so' does not exist" in await refusal(softhsm, module="/nowhere/module.so")


async def test_a_file_that_is_no_module_is_named(softhsm: TestToken, tmp_path: Path) -> None:
    (tmp_path / "module.so").write_text("no library")
    assert "cannot be loaded" in await refusal(softhsm, module=str(tmp_path / "module.so"))


async def test_a_library_that_is_no_module_is_named(softhsm: TestToken) -> None:
    assert "cannot be loaded" in await refusal(softhsm, module=_ctypes.__file__)


async def test_nss_without_its_parameters_is_refused(nss: TestToken) -> None:
    sentence = await refusal(nss, initialize_args="configdir='sql:/nowhere' flags=")
    assert "hsm.initialize_args" in sentence or "session" in sentence


async def test_a_missing_token_is_named_with_those_present(softhsm: TestToken) -> None:
    sentence = await refusal(softhsm, token_label="another")
    assert "no token labelled 'another'" in sentence
    assert "'hsmkms-test'" in sentence


async def test_two_tokens_of_one_label_are_refused(tmp_path: Path) -> None:
    token = tokens.make_softhsm(tmp_path / "doubled")
    tokens.add_softhsm_token(token, "hsmkms-test")
    assert "There are 2 tokens labelled 'hsmkms-test'" in await refusal(token)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "cannot be read"), (b"", "is empty"), (b"\n", "is empty"), (b"\xff\xfe", "is not UTF-8")],
)
async def test_an_unusable_pin_file_is_named(
    softhsm: TestToken, tmp_path: Path, content: bytes | None, sentence: str
) -> None:
    path = tmp_path / "pin"
    if content is not None:
        path.write_bytes(content)
    said = await refusal(softhsm, pin_file=str(path))
    assert str(path) in said
    assert sentence in said


async def test_a_host_that_does_not_come_up_in_time_is_killed(softhsm: TestToken) -> None:
    host = await spawn_host(softhsm.host_settings(FIPS), "slow")
    os.kill(host.pid, signal.SIGSTOP)
    with pytest.raises(TokenUnusable, match="did not come up"):
        await host.ready(0.2)
    assert host.returncode == -signal.SIGKILL
    host.socket.close()


async def test_neither_arguments_nor_environment_show_the_pin_or_its_path(softhsm: TestToken) -> None:
    host = await tokens.start(softhsm, FIPS)
    proc = Path("/proc") / str(host.pid)
    shown = (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
    assert b"hsmkms.hsm.host" in shown
    assert softhsm.env["SOFTHSM2_CONF"].encode() in shown
    assert tokens.PIN.encode() not in shown
    assert str(softhsm.settings["pin_file"]).encode() not in shown
    host.socket.close()
    await host.wait()
    assert os.environ.get("SOFTHSM2_CONF") != softhsm.env["SOFTHSM2_CONF"]


@pytest.mark.parametrize("dumpable", [False, True])
async def test_a_host_says_how_its_memory_is_kept(softhsm: TestToken, dumpable: bool) -> None:
    host = await tokens.start(softhsm, FIPS, dumpable=dumpable)
    assert host.protection is not None
    assert host.protection.dumpable is dumpable
    status = (Path("/proc") / str(host.pid) / "status").read_text().splitlines()
    (locked,) = [int(line.split()[1]) for line in status if line.startswith("VmLck:")]
    assert (locked > 0) is (host.protection.not_locked == "")
    host.socket.close()
    await host.wait()


async def test_memory_is_not_locked_under_a_limit_that_would_end_the_host() -> None:
    script = "from hsmkms.hsm.host.locking import lock_memory; print(lock_memory())"
    limit = 4 * 1024 * 1024
    limited = (*UNPRIVILEGED, "prlimit", f"--memlock={limit}", sys.executable, "-c", script)
    process = await asyncio.create_subprocess_exec(*limited, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    assert said.decode().strip() == f"RLIMIT_MEMLOCK is {limit} bytes, not unlimited"


async def test_a_host_is_as_nice_as_asked_and_leaves_no_core_file(softhsm: TestToken) -> None:
    host = await spawn_host(softhsm.host_settings(FIPS), "nice", niceness=7)
    await host.ready()
    assert os.getpriority(os.PRIO_PROCESS, host.pid) == os.getpriority(os.PRIO_PROCESS, 0) + 7
    limits = (Path("/proc") / str(host.pid) / "limits").read_text()
    (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"]
    host.socket.close()
    await host.wait()
