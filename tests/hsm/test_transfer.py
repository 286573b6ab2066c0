"""Material on its way from one sealing key to the next, and who may send it there."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from pkcs11 import TokenFlag

from hsmkms.core.custody import CustodyRole
from hsmkms.core.errors import (
    InternalFault,
    LoginUnanswered,
    PinRefused,
    RecordBroken,
    TokenGaveNoAnswer,
    TokenUnusable,
)
from hsmkms.core.ids import AccessId
from hsmkms.core.ports import HeldMaterial
from hsmkms.core.records import MOST_VERSION, head_of, of_credential
from hsmkms.core.secrets import Plaintext, SecretKey
from hsmkms.hsm import messages
from hsmkms.hsm.host import purposes
from hsmkms.hsm.settings import HostExit, HostPurpose
from hsmkms.hsm.spawn import spawn_host
from hsmkms.hsm.transferring import TransferHost
from tests.contract.hsm_contract import ALICE, owner_of
from tests.contract.transferer_contract import SealedBefore, TransfererContract
from tests.fakes.hsm import FakeHsm
from tests.hsm import tokens
from tests.hsm.conftest import FIPS, SECONDS, Rotated, logged, transferring, version_of
from tests.hsm.test_custody import objects

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hsmkms.core.ports import Hsm, Transferer
    from hsmkms.hsm.client import HostPool
    from tests.faults.pkcs11_faults import Faults
    from tests.hsm.tokens import TestToken

pytestmark = pytest.mark.asyncio(loop_scope="session")


# --- transfer ------------------------------------------------------------------------------------------


class TestFake(TransfererContract):
    @pytest.fixture
    def hsm(self) -> FakeHsm:
        return FakeHsm(FIPS)

    @pytest.fixture
    async def sealed(self, hsm: FakeHsm) -> SealedBefore:
        owner, plaintext = owner_of(FIPS), Plaintext(b"before")
        material = await hsm.generate_material(owner)
        ciphertext = await hsm.encrypt(HeldMaterial(owner, material.record), plaintext, b"c")
        hsm.sealing_version = 2
        return SealedBefore(owner, material, ciphertext, plaintext)

    @pytest.fixture
    def transferer(self, hsm: FakeHsm) -> Transferer:
        return hsm

    @pytest.fixture
    def stuck(self, hsm: FakeHsm, sealed: SealedBefore) -> tuple[Transferer, SealedBefore]:
        hsm.transferable = False
        return hsm, sealed


class TestTransferHost(TransfererContract):
    @pytest.fixture
    def hsm(self, ahead: HostPool) -> Hsm:
        return ahead

    @pytest.fixture
    def sealed(self, transferable: Rotated) -> SealedBefore:
        return transferable.sealed

    @pytest.fixture
    def transferer(self, mover: TransferHost) -> Transferer:
        return mover

    @pytest_asyncio.fixture(loop_scope="session")
    async def stuck(self, ordinary: Rotated) -> AsyncIterator[tuple[Transferer, SealedBefore]]:
        async with transferring(ordinary) as host:
            yield host, ordinary.sealed


async def test_nothing_of_a_transfer_is_on_a_disk_and_what_was_moved_is_as_it_was(
    transferable: Rotated, mover: TransferHost, ahead: HostPool
) -> None:
    sealed, before = transferable.sealed, objects(transferable.token)
    moved = await mover.reseal_material(sealed.owner, sealed.material.record)
    assert objects(transferable.token) == before
    evidence = await ahead.inspect_material(sealed.owner, moved.record)
    assert evidence == transferable.evidence
    assert evidence.attributes["EXTRACTABLE"] is False


async def test_what_is_under_the_newest_version_stays_as_it_is(transferable: Rotated, mover: TransferHost) -> None:
    owner = transferable.sealed.owner
    moved = await mover.reseal_material(owner, transferable.sealed.material.record)
    assert await mover.reseal_material(owner, moved.record) == moved


async def test_a_database_that_calls_a_sealing_key_transferable_does_not_make_it_so(ordinary: Rotated) -> None:
    claimed = tuple(
        replace(each, transferable=each.role is CustodyRole.MATERIAL_SEALING) for each in ordinary.after.objects
    )
    async with tokens.channel_to(ordinary.token) as channel:
        with pytest.raises(TokenUnusable, match="material-sealing' was made not to be transferable"):
            await channel.attach(replace(ordinary.after, objects=claimed))
        await channel.attach(ordinary.before)
        newest = tuple(each for each in claimed if each.version > 1 or each.role is not CustodyRole.MATERIAL_SEALING)
        both = tuple(each for each in ordinary.before.objects if each.role is CustodyRole.MATERIAL_SEALING)
        with pytest.raises(TokenUnusable, match="material-sealing v2' was made not to be transferable"):
            await channel.adopt(replace(ordinary.after, objects=newest + both))


async def test_a_token_that_is_sick_is_not_taken_for_one_that_refuses_to_unseal_for_others(
    transferable: Rotated, faults: Faults
) -> None:
    token = transferable.token
    settings = {"module": str(faults.library), "env": token.env | faults.environment}
    async with tokens.channel_to(token, FIPS, HostPurpose.SERVE, **settings) as channel:
        with (
            faults.ruled("C_UnwrapKey 0x31 skip=1 count=1"),
            pytest.raises(TokenGaveNoAnswer),
        ):  # after its known answer
            await channel.attach(transferable.after)


async def test_only_what_the_token_refuses_twice_while_it_is_well_is_the_record_s_fault(
    transferable: Rotated, faults: Faults
) -> None:
    token, owner, record = transferable.token, transferable.sealed.owner, transferable.sealed.material.record
    settings = {"module": str(faults.library), "env": token.env | faults.environment, "so_pin_file": token.so_pin_file}

    def twice(function: str) -> tuple[str, ...]:
        """Let the first call fail, and that of the second try, but not the canary's between the two."""
        return f"{function} 0x110 count=1", f"{function} 0x110 skip=1 count=1"

    async with tokens.channel_to(token, FIPS, HostPurpose.TRANSFER, **settings) as channel:
        await channel.attach(transferable.after)
        host = TransferHost(channel, SECONDS)
        with faults.ruled("C_UnwrapKey 0x110 count=1"):
            assert version_of((await host.reseal_material(owner, record)).record) == 2
        with faults.ruled(*twice("C_UnwrapKey")), pytest.raises(RecordBroken):
            await host.reseal_material(owner, record)
        with faults.ruled(*twice("C_WrapKey")), pytest.raises(InternalFault):  # under the transit key
            await host.reseal_material(owner, record)
        assert version_of((await host.reseal_material(owner, record)).record) == 2


@pytest.mark.parametrize("purpose", [HostPurpose.SERVE, HostPurpose.OPERATE])
async def test_only_a_host_started_to_transfer_seals_anew(
    transferable: Rotated, purpose: HostPurpose, capfd: pytest.CaptureFixture[str]
) -> None:
    token, sealed = transferable.token, transferable.sealed
    async with tokens.channel_to(token, FIPS, purpose, so_pin_file=token.so_pin_file) as channel:
        await channel.attach(transferable.after)
        with pytest.raises(InternalFault):
            await TransferHost(channel, SECONDS).reseal_material(sealed.owner, sealed.material.record)
    assert [line["verb"] for line in logged(capfd) if line["event"] == "verb refused"] == ["ResealMaterial"]


async def test_a_host_started_to_transfer_attaches_and_seals_anew_and_no_other_does() -> None:
    assert purposes.OBEYED[HostPurpose.TRANSFER] == {messages.Attach, messages.ResealMaterial}
    sealing_anew = {purpose for purpose, verbs in purposes.OBEYED.items() if messages.ResealMaterial in verbs}
    assert sealing_anew == {HostPurpose.TRANSFER}


SOFTHSM_TOKEN_FLAGS: Final = 0x8000534B
"""CKA_OS_TOKENFLAGS, as SoftHSM calls it."""


# --- PINs ----------------------------------------------------------------------------------------------


@dataclass
class Logins:
    """A token whose logins are counted."""

    token: TestToken
    faults: Faults

    async def refused(
        self, expected: type[Exception], rules: tuple[str, ...] = (), **changed: object
    ) -> tuple[str, int]:
        """Return the sentence with which a host that is to transfer refuses to start, and how often it logged in."""
        settings = {
            "purpose": HostPurpose.TRANSFER,
            "so_pin_file": self.token.so_pin_file,
            "module": str(self.faults.library),
            "env": self.token.env | self.faults.environment,
        }
        with self.faults.ruled("C_Login delay_ms=0", *rules) as ruling:
            host = await spawn_host(self.token.host_settings(FIPS, **(settings | changed)), "refused")
            with pytest.raises(expected) as raised:
                await host.ready()
            assert await host.wait() == HostExit.UNUSABLE
            host.socket.close()
        return str(raised.value), ruling.counted()[0]


def set_token_flag(token: TestToken, flag: TokenFlag) -> None:
    """Add one of CKF_... to what SoftHSM says of a token: an attribute of its own, kind 2, and 8 bytes."""
    for path in (token.directory / "tokens").rglob("token.object"):
        content = path.read_bytes()
        head = struct.pack(">QQ", SOFTHSM_TOKEN_FLAGS, 2)
        before, _, after = content.partition(head)
        (flags,) = struct.unpack(">Q", after[:8])
        path.write_bytes(before + head + struct.pack(">Q", flags | flag) + after[8:])


@pytest.fixture
def logins(softhsm: TestToken, faults: Faults) -> Logins:
    return Logins(softhsm, faults)


async def test_a_wrong_pin_of_either_is_tried_once_and_named(logins: Logins, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("not-the-pin-1")
    sentence, tries = await logins.refused(PinRefused, so_pin_file=str(wrong))
    assert f"security officer's PIN; it was tried once. Correct what is in the file '{wrong}'" in sentence
    assert tries == 1, "the user's is not sent any more"
    sentence, tries = await logins.refused(PinRefused, pin_file=str(wrong))
    assert "hsm.pin_file" in sentence
    assert tries == 2, "the security officer's, and the user's"


async def test_a_pin_that_is_not_there_costs_no_try(logins: Logins, tmp_path: Path) -> None:
    nowhere, pipe = str(tmp_path / "nowhere"), str(tmp_path / "pipe")
    os.mkfifo(pipe)
    for changed, words in (
        ({"so_pin_file": pipe}, f"'{pipe}' is to hold a PIN, and is no regular file"),
        ({"pin_file": pipe}, f"'{pipe}' is to hold a PIN, and is no regular file"),
        ({"so_pin_file": None}, "The security officer's PIN is needed"),
        ({"so_pin_file": nowhere}, f"The SO PIN file '{nowhere}' cannot be read"),
        ({"pin_file": nowhere}, f"The PIN file '{nowhere}' cannot be read"),
    ):
        sentence, tries = await logins.refused(TokenUnusable, **changed)
        assert words in sentence
        assert tries == 0


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        (TokenFlag.SO_PIN_FINAL_TRY, "one more wrong PIN of the security officer locks it, so none was sent"),
        (TokenFlag.SO_PIN_LOCKED, "has locked the security officer's PIN"),
    ],
)
async def test_the_last_try_of_the_security_officer_s_pin_is_not_ours(
    softhsm: TestToken, faults: Faults, tmp_path: Path, flag: TokenFlag, words: str
) -> None:
    token = tokens.copy_of(softhsm, tmp_path / "copy")
    set_token_flag(token, flag)
    sentence, tries = await Logins(token, faults).refused(TokenUnusable)
    assert words in sentence
    assert tries == 0


async def test_a_token_that_makes_no_trusted_key_says_so_before_the_user_s_pin_is_sent(logins: Logins) -> None:
    sentence, tries = await logins.refused(TokenUnusable, rules=("C_GenerateKey 0x10",))
    assert "has no transit key: the security officer cannot make it (AttributeReadOnly)" in sentence
    assert tries == 1


async def test_nss_has_no_security_officer_who_could_log_in(nss: TestToken, tmp_path: Path) -> None:
    so_pin = tmp_path / "so-pin"
    so_pin.write_text(tokens.SO_PIN)
    settings = nss.host_settings(FIPS, purpose=HostPurpose.TRANSFER, so_pin_file=str(so_pin))
    host = await spawn_host(settings, "refused")
    with pytest.raises(LoginUnanswered, match=r"neither took nor refused the security officer's PIN \(USER_TYPE_INV"):
        await host.ready()
    assert await host.wait() == HostExit.UNUSABLE
    host.socket.close()


# --- heads of records ----------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def record(transferable: Rotated, ahead: HostPool) -> bytes:
    """A record of the newest version, of the owner of `transferable`."""
    return (await ahead.generate_material(transferable.sealed.owner)).record


HEAD = len(head_of(2))


@given(
    head=st.one_of(st.binary(max_size=9), st.integers(1, MOST_VERSION).map(head_of)),
    behind=st.sampled_from((0, HEAD)),
    cut=st.integers(0, 90),
)
@settings(max_examples=200, deadline=None)
async def test_a_record_with_any_other_head_or_none_or_half_of_one_does_not_open(
    transferable: Rotated, ahead: HostPool, record: bytes, head: bytes, behind: int, cut: int
) -> None:
    for altered in (head + record[behind:], head + record[behind + cut :], record[:cut]):
        if altered != record:
            with pytest.raises(RecordBroken):
                await ahead.inspect_material(transferable.sealed.owner, altered)


async def test_a_credential_s_record_is_of_no_version(ahead: HostPool) -> None:
    identity = of_credential(ALICE, AccessId("AKIDexample"), FIPS)
    record = await ahead.protect_secret(identity, SecretKey(b"secret"))
    assert version_of(record) == 1
    with pytest.raises(RecordBroken):
        await ahead.open_secret(identity, head_of(2) + record[1:])
    assert await ahead.open_secret(identity, record) == SecretKey(b"secret")
