"""What every implementation of `core.ports.Hsm` must do with the material of keys, or without a cipher for it.

A room that has one subclasses `CipherContract` or `NoCipherContract` as it subclasses `HsmContract`.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hsmkms.core import ciphertexts
from hsmkms.core.errors import CiphertextInvalid, InternalFault, RecordBroken
from hsmkms.core.ids import KeyId
from hsmkms.core.ports import HeldMaterial
from hsmkms.core.secrets import Plaintext
from hsmkms.hsm.host import outside
from tests.contract.hsm_contract import HsmContract, changed, owner_of

if TYPE_CHECKING:
    from hsmkms.core.material import Edition
    from hsmkms.core.ports import Hsm
    from hsmkms.core.records import RecordIdentity

CONTEXT = ciphertexts.context_of_pairs({"purpose": "test"})
SECRET = Plaintext(b"needle-in-a-ciphertext")
HEAD_BYTES = 26


async def generated(hsm: Hsm, edition: Edition) -> HeldMaterial:
    """Return the material of a new key."""
    owner = owner_of(edition)
    return HeldMaterial(owner, (await hsm.generate_material(owner)).record)


async def imported(hsm: Hsm, owner: RecordIdentity, known: bytes) -> HeldMaterial:
    """Return known material of a key."""
    sealed = await hsm.import_material(await HsmContract.order(hsm, owner, known))
    return HeldMaterial(owner, sealed.record)


async def unreadable(hsm: Hsm, material: HeldMaterial, ciphertext: bytes, context: bytes = CONTEXT) -> bool:
    try:
        await hsm.decrypt(material, ciphertext, context)
    except CiphertextInvalid:
        return True
    return False


@pytest.mark.asyncio(loop_scope="session")
class CipherContract:
    """The cases of an implementation that offers its edition's cipher."""

    async def test_the_edition_s_cipher_is_offered(self, hsm: Hsm, edition: Edition) -> None:
        assert hsm.ciphers == {ciphertexts.OF_EDITION[edition]}

    # --- form --------------------------------------------------------------------------------------------

    async def test_a_plaintext_of_any_size_comes_back(self, hsm: Hsm, edition: Edition) -> None:
        material = await generated(hsm, edition)
        for size in {*range(130), *range(130, 4096, 97), 4095, 4096}:
            plaintext = Plaintext(outside.throw_away(size))
            ciphertext = await hsm.encrypt(material, plaintext, CONTEXT)
            assert await hsm.decrypt(material, ciphertext, CONTEXT) == plaintext
            assert len(ciphertext) == max(size + 2, 64) + 54
            assert size < 8 or plaintext.reveal() not in ciphertext

    async def test_a_ciphertext_is_what_the_core_says_and_opens_outside_with_the_material_itself(
        self, hsm: Hsm, edition: Edition
    ) -> None:
        owner, known = owner_of(edition), outside.throw_away(edition.material_bytes)
        ciphertext = await hsm.encrypt(await imported(hsm, owner, known), SECRET, CONTEXT)
        parsed = ciphertexts.parse(ciphertext)
        assert parsed.head == ciphertexts.head_of(owner)
        authenticated = ciphertexts.authenticated(owner, parsed.head, CONTEXT)
        assert AESGCM(known).decrypt(parsed.iv, parsed.sealed, authenticated) == ciphertexts.padded(SECRET)

    async def test_no_iv_comes_twice(self, hsm: Hsm, edition: Edition) -> None:
        material = await generated(hsm, edition)
        times = 10_000
        ivs = {ciphertexts.parse(await hsm.encrypt(material, SECRET, b"")).iv for _ in range(times)}
        assert len(ivs) == times

    # --- whatever is not as it was made ------------------------------------------------------------------

    async def test_no_bit_of_a_ciphertext_may_be_flipped(self, hsm: Hsm, edition: Edition) -> None:
        material = await generated(hsm, edition)
        ciphertext = await hsm.encrypt(material, SECRET, CONTEXT)
        for at in range(len(ciphertext)):
            for bit in range(8):
                flipped = ciphertext[:at] + bytes((ciphertext[at] ^ 1 << bit,)) + ciphertext[at + 1 :]
                assert await unreadable(hsm, material, flipped), (at, bit)
        assert await hsm.decrypt(material, ciphertext, CONTEXT) == SECRET

    @pytest.mark.parametrize("size", [1, 62, 63, 4096])
    async def test_a_ciphertext_may_be_neither_cut_short_nor_continued(
        self, hsm: Hsm, edition: Edition, size: int
    ) -> None:
        material = await generated(hsm, edition)
        ciphertext = await hsm.encrypt(material, Plaintext(outside.throw_away(size)), CONTEXT)
        for kept in {*range(130), *(len(ciphertext) - less for less in range(1, 20))} - {len(ciphertext)}:
            if kept < len(ciphertext):
                assert await unreadable(hsm, material, ciphertext[:kept]), kept
        for more in (1, 15, 16, 17, 10_000):
            assert await unreadable(hsm, material, ciphertext + bytes(more)), more

    async def test_another_algorithm_in_the_head_is_refused(self, hsm: Hsm, edition: Edition) -> None:
        material = await generated(hsm, edition)
        ciphertext = await hsm.encrypt(material, SECRET, CONTEXT)
        assert await unreadable(hsm, material, ciphertext[:5] + bytes((3 - ciphertext[5],)) + ciphertext[6:])

    async def test_a_ciphertext_opens_with_its_context_only(self, hsm: Hsm, edition: Edition) -> None:
        material = await generated(hsm, edition)
        contexts = [
            ciphertexts.NO_CONTEXT,
            CONTEXT,
            ciphertexts.context_of_pairs({"purpose": "tests"}),
            ciphertexts.context_of_pairs({"purpose": "test", "": ""}),
            ciphertexts.context_of_text("purpose"),
            bytes(ciphertexts.MOST_CONTEXT_BYTES),
        ]
        for made_with in contexts:
            ciphertext = await hsm.encrypt(material, SECRET, made_with)
            for context in contexts:
                assert await unreadable(hsm, material, ciphertext, context) == (context != made_with)

    async def test_a_context_beyond_the_bound_is_the_caller_s_defect(self, hsm: Hsm, edition: Edition) -> None:
        material = await generated(hsm, edition)
        ciphertext = await hsm.encrypt(material, SECRET, CONTEXT)
        longer = bytes(ciphertexts.MOST_CONTEXT_BYTES + 1)
        for call in (
            hsm.encrypt(material, SECRET, longer),
            hsm.decrypt(material, ciphertext, longer),
            hsm.require_decryptable(material, ciphertext, longer),
            hsm.re_encrypt(material, ciphertext, longer, material, CONTEXT),
            hsm.re_encrypt(material, ciphertext, CONTEXT, material, longer),
            hsm.make_data_key(material, 16, longer, shown=False),
        ):
            with pytest.raises(InternalFault):
                await call
        assert await hsm.decrypt(material, ciphertext, CONTEXT) == SECRET

    async def test_the_same_material_in_another_key_account_or_generation_does_not_read_it(
        self, hsm: Hsm, edition: Edition
    ) -> None:
        owner, known = owner_of(edition), outside.throw_away(edition.material_bytes)
        ciphertext = await hsm.encrypt(await imported(hsm, owner, known), SECRET, CONTEXT)
        for other in (
            replace(owner, account="mallory"),
            replace(owner, owner=str(uuid.uuid4())),
            replace(owner, generation=owner.generation + 1),
        ):
            material = await imported(hsm, other, known)
            assert await unreadable(hsm, material, ciphertext)
            disguised = ciphertexts.head_of(other).packed() + ciphertext[HEAD_BYTES:]
            assert await unreadable(hsm, material, disguised)

    async def test_the_same_material_imported_again_reads_it(self, hsm: Hsm, edition: Edition) -> None:
        owner, known = owner_of(edition), outside.throw_away(edition.material_bytes)
        first = await imported(hsm, owner, known)
        ciphertext = await hsm.encrypt(first, SECRET, CONTEXT)
        again = await imported(hsm, owner, known)
        assert again.record != first.record
        assert await hsm.decrypt(again, ciphertext, CONTEXT) == SECRET

    async def test_other_material_of_the_same_owner_does_not_read_it(self, hsm: Hsm, edition: Edition) -> None:
        material = await generated(hsm, edition)
        ciphertext = await hsm.encrypt(material, SECRET, CONTEXT)
        other = replace(material, record=(await hsm.generate_material(material.owner)).record)
        assert await unreadable(hsm, other, ciphertext)

    async def test_a_record_of_another_owner_or_changed_is_broken_and_not_the_ciphertext(
        self, hsm: Hsm, edition: Edition
    ) -> None:
        material, other = await generated(hsm, edition), await generated(hsm, edition)
        ciphertext = await hsm.encrypt(material, SECRET, CONTEXT)
        for record in (other.record, changed(material.record, len(material.record) // 2), material.record[:-1]):
            broken = replace(material, record=record)
            for call in (
                hsm.encrypt(broken, SECRET, CONTEXT),
                hsm.decrypt(broken, ciphertext, CONTEXT),
                hsm.require_decryptable(broken, ciphertext, CONTEXT),
                hsm.re_encrypt(broken, ciphertext, CONTEXT, other, CONTEXT),
                hsm.re_encrypt(material, ciphertext, CONTEXT, broken, CONTEXT),
                hsm.make_data_key(broken, 16, CONTEXT, shown=True),
            ):
                with pytest.raises(RecordBroken):
                    await call
        assert await hsm.decrypt(material, ciphertext, CONTEXT) == SECRET

    async def test_what_does_not_decrypt_is_told_without_its_plaintext(self, hsm: Hsm, edition: Edition) -> None:
        material, other = await generated(hsm, edition), await generated(hsm, edition)
        ciphertext = await hsm.encrypt(material, SECRET, CONTEXT)
        await hsm.require_decryptable(material, ciphertext, CONTEXT)
        for held, wrong, context in (
            (material, ciphertext, b""),
            (material, outside.damage(ciphertext), CONTEXT),
            (material, ciphertext[:-1], CONTEXT),
            (material, b"", CONTEXT),
            (material, bytes(5000), CONTEXT),
            (other, ciphertext, CONTEXT),
        ):
            with pytest.raises(CiphertextInvalid):
                await hsm.require_decryptable(held, wrong, context)

    # --- re-encryption and data keys ---------------------------------------------------------------------

    async def test_what_is_re_encrypted_opens_under_the_target_only(self, hsm: Hsm, edition: Edition) -> None:
        source, target = await generated(hsm, edition), await generated(hsm, edition)
        ciphertext = await hsm.encrypt(source, SECRET, CONTEXT)
        anew = await hsm.re_encrypt(source, ciphertext, CONTEXT, target, b"")
        assert await hsm.decrypt(target, anew, b"") == SECRET
        assert await unreadable(hsm, source, anew, b"")
        assert await unreadable(hsm, target, anew, CONTEXT)

    async def test_what_does_not_decrypt_is_not_re_encrypted(self, hsm: Hsm, edition: Edition) -> None:
        source, target = await generated(hsm, edition), await generated(hsm, edition)
        ciphertext = await hsm.encrypt(source, SECRET, CONTEXT)
        for wrong, context in ((ciphertext, b""), (outside.damage(ciphertext), CONTEXT), (bytes(5000), CONTEXT)):
            with pytest.raises(CiphertextInvalid):
                await hsm.re_encrypt(source, wrong, context, target, CONTEXT)
        with pytest.raises(CiphertextInvalid):
            await hsm.re_encrypt(target, ciphertext, CONTEXT, target, CONTEXT)

    @pytest.mark.parametrize("size", [1, 16, 32, 1024])
    async def test_a_data_key_is_shown_or_hidden_and_always_decrypts(
        self, hsm: Hsm, edition: Edition, size: int
    ) -> None:
        material = await generated(hsm, edition)
        shown = await hsm.make_data_key(material, size, CONTEXT, shown=True)
        hidden = await hsm.make_data_key(material, size, CONTEXT, shown=False)
        assert await hsm.decrypt(material, shown.ciphertext, CONTEXT) == shown.plaintext
        assert hidden.plaintext is None
        opened = await hsm.decrypt(material, hidden.ciphertext, CONTEXT)
        assert len(opened) == size
        assert size < 8 or opened != shown.plaintext


@pytest.mark.asyncio(loop_scope="session")
class NoCipherContract:
    """The cases of an implementation that lacks its edition's cipher: it offers none, and no other stands in."""

    async def test_no_cipher_is_offered(self, hsm: Hsm) -> None:
        assert hsm.ciphers == frozenset()

    async def test_whoever_asks_all_the_same_is_at_fault(self, hsm: Hsm, edition: Edition) -> None:
        material = await generated(hsm, edition)
        head = ciphertexts.Head(ciphertexts.OF_EDITION[edition], KeyId(material.owner.owner), material.owner.generation)
        ciphertext = ciphertexts.Ciphertext(head, bytes(12), bytes(80)).packed()
        for call in (
            hsm.encrypt(material, SECRET, CONTEXT),
            hsm.decrypt(material, ciphertext, CONTEXT),
            hsm.require_decryptable(material, ciphertext, CONTEXT),
            hsm.re_encrypt(material, ciphertext, CONTEXT, material, CONTEXT),
            hsm.make_data_key(material, 16, CONTEXT, shown=False),
        ):
            with pytest.raises(InternalFault):
                await call

    async def test_imports_go_on(self, hsm: Hsm, edition: Edition) -> None:
        material = await imported(hsm, owner_of(edition), outside.throw_away(edition.material_bytes))
        evidence = await hsm.inspect_material(material.owner, material.record)
        assert evidence.length_bits == edition.material_bits


@pytest.mark.asyncio(loop_scope="session")
class RandomContract:
    """The cases of every implementation, whatever its ciphers."""

    @pytest.mark.parametrize("size", [1, 16, 32, 1024])
    async def test_random_bytes_are_as_many_as_asked_for_and_never_the_same(self, hsm: Hsm, size: int) -> None:
        first, second = [await hsm.random(size) for _ in range(2)]
        assert len(first) == len(second) == size
        assert size < 8 or first != second
