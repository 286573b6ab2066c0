"""What every implementation of `core.ports.Transferer` must do.

A room that has one runs the suite by subclassing `TransfererContract` and giving it the fixtures: `transferer`, over
the sealing keys of version 2; `hsm`, which works with them, too; `sealed`, which the first version sealed and lets go;
and `stuck`, which it sealed and does not let go, with a transferer for it. The tests run on the event loop of the
session.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.errors import NotTransferable, RecordBroken
from hsmkms.core.ports import HeldMaterial
from hsmkms.core.records import head_of, split_head
from hsmkms.core.secrets import Plaintext

if TYPE_CHECKING:
    from hsmkms.core.material import SealedMaterial
    from hsmkms.core.ports import Hsm, Transferer
    from hsmkms.core.records import RecordIdentity


@dataclass(frozen=True)
class SealedBefore:
    """A key's material under the first version, and what was encrypted with it then, with the context `c`."""

    owner: RecordIdentity
    material: SealedMaterial
    ciphertext: bytes
    plaintext: Plaintext

    @property
    def held(self) -> HeldMaterial:
        return HeldMaterial(self.owner, self.material.record)


@pytest.mark.asyncio(loop_scope="session")
class TransfererContract:
    """The cases."""

    async def test_material_goes_to_the_next_version_and_is_the_same_key(
        self, sealed: SealedBefore, transferer: Transferer, hsm: Hsm
    ) -> None:
        moved = await transferer.reseal_material(sealed.owner, sealed.material.record)
        assert [split_head(each.record)[0] for each in (sealed.material, moved)] == [1, 2]
        assert moved.fingerprint.matches(sealed.material.fingerprint)
        before = await hsm.inspect_material(sealed.owner, sealed.material.record)
        after = await hsm.inspect_material(sealed.owner, moved.record)
        assert after == before
        held = HeldMaterial(sealed.owner, moved.record)
        assert await hsm.decrypt(held, sealed.ciphertext, b"c") == sealed.plaintext
        again = await hsm.encrypt(held, Plaintext(b"after"), b"")
        assert await hsm.decrypt(sealed.held, again, b"") == Plaintext(b"after")

    async def test_a_record_is_sealed_anew_for_its_owner_only_and_unchanged_only(
        self, sealed: SealedBefore, transferer: Transferer
    ) -> None:
        owner, record = sealed.owner, sealed.material.record
        with pytest.raises(RecordBroken):
            await transferer.reseal_material(replace(owner, account="mallory"), record)
        for altered in (head_of(2) + record[1:], record[:-1], b""):
            with pytest.raises(RecordBroken):
                await transferer.reseal_material(owner, altered)
        await transferer.reseal_material(owner, record)

    async def test_what_is_not_transferable_stays_where_it_is(self, stuck: tuple[Transferer, SealedBefore]) -> None:
        transferer, sealed = stuck
        for _ in range(2):
            with pytest.raises(NotTransferable):
                await transferer.reseal_material(sealed.owner, sealed.material.record)
