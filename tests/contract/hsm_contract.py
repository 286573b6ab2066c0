"""What every implementation of `core.ports.Hsm` must do.

A room that has one runs the suite by subclassing `HsmContract` and giving it the fixtures `hsm` and `edition`. The
tests run on the event loop of the session, on which the hosts were attached.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from hsmkms.core.errors import InternalFault, MaterialLengthWrong, MaterialUndecryptable, RecordBroken
from hsmkms.core.events import MAC_BYTES, AuditHead
from hsmkms.core.ids import AccessId, AccountName, KeyId, PairId
from hsmkms.core.ports import ImportOrder
from hsmkms.core.records import RecordIdentity, of_credential, of_material, of_pair
from hsmkms.core.secrets import SecretKey
from hsmkms.core.wrapping import WRAPPING_KEY_BITS, WRAPPING_KEY_BYTES, WrappingAlgorithm
from hsmkms.hsm.host import outside

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hsmkms.core.material import Edition
    from hsmkms.core.ports import Hsm
    from hsmkms.core.tickets import FreshPair

OAEP = WrappingAlgorithm.RSAES_OAEP_SHA_1
"""The one that every token of the tests does."""
PKCS1 = WrappingAlgorithm.RSAES_PKCS1_V1_5
ALICE = AccountName("alice")

_SHARED_PAIRS: WeakKeyDictionary[Hsm, FreshPair] = WeakKeyDictionary()


def owner_of(edition: Edition) -> RecordIdentity:
    return of_material(ALICE, KeyId(str(uuid.uuid4())), edition, 1)


def changed(record: bytes, at: int) -> bytes:
    return record[:at] + bytes((record[at] ^ 0x01,)) + record[at + 1 :]


def others(identity: RecordIdentity) -> list[RecordIdentity]:
    """Return identities that differ from `identity` in one part."""
    return [
        replace(identity, account="mallory"),
        replace(identity, owner=str(uuid.uuid4())),
        replace(identity, generation=identity.generation + 1),
    ]


async def new_pair(hsm: Hsm, edition: Edition) -> FreshPair:
    return await hsm.make_pair(of_pair(PairId(str(uuid.uuid4())), edition), WRAPPING_KEY_BITS)


async def shared_pair(hsm: Hsm, edition: Edition) -> FreshPair:
    """Return the pair of all cases of an implementation: making one costs a token 0.2 s."""
    if hsm not in _SHARED_PAIRS:
        _SHARED_PAIRS[hsm] = await new_pair(hsm, edition)
    return _SHARED_PAIRS[hsm]


@pytest.mark.asyncio(loop_scope="session")
class HsmContract:
    """The cases; each gets an owner of its own, and a pair where pairs are what is tested."""

    @pytest.fixture
    def owner(self, edition: Edition) -> RecordIdentity:
        return owner_of(edition)

    @pytest.fixture
    def pair_identity(self, edition: Edition) -> RecordIdentity:
        return of_pair(PairId(str(uuid.uuid4())), edition)

    @staticmethod
    async def order(
        hsm: Hsm,
        owner: RecordIdentity,
        plaintext: bytes,
        algorithm: WrappingAlgorithm = OAEP,
        pair: FreshPair | None = None,
    ) -> ImportOrder:
        pair = pair or await shared_pair(hsm, owner.edition)
        identity = of_pair(pair.pair_id, owner.edition)
        return ImportOrder(owner, identity, pair.record, algorithm, outside.wrap(pair.public_key, algorithm, plaintext))

    @staticmethod
    async def length_is_right(hsm: Hsm, order: ImportOrder) -> bool:
        try:
            await hsm.import_material(order)
        except MaterialLengthWrong as wrong:
            return wrong.needed_bits != order.owner.edition.material_bits
        return True

    # --- pairs -------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("bits", [2048, 3072])
    async def test_a_pair_is_an_rsa_public_key_and_a_record(
        self, hsm: Hsm, pair_identity: RecordIdentity, bits: int
    ) -> None:
        pair = await hsm.make_pair(pair_identity, bits)
        public = load_der_public_key(pair.public_key)
        assert isinstance(public, RSAPublicKey)
        assert (public.key_size, public.public_numbers().e) == (bits, 65537)
        assert pair.pair_id == pair_identity.owner
        assert len(pair.record) > bits // 8

    async def test_two_pairs_are_two_pairs(self, hsm: Hsm, pair_identity: RecordIdentity) -> None:
        first, second = [await hsm.make_pair(pair_identity, WRAPPING_KEY_BITS) for _ in range(2)]
        assert first.public_key != second.public_key

    # --- imports -----------------------------------------------------------------------------------------

    @pytest.mark.parametrize("algorithm", WrappingAlgorithm)
    async def test_material_of_the_right_length_is_sealed_by_every_algorithm_offered(
        self, hsm: Hsm, owner: RecordIdentity, algorithm: WrappingAlgorithm
    ) -> None:
        plaintext = outside.throw_away(owner.edition.material_bytes)
        order = await self.order(hsm, owner, plaintext, algorithm)
        if algorithm not in hsm.algorithms:  # whoever asks all the same is at fault, not the ciphertext
            with pytest.raises(InternalFault):
                await hsm.import_material(order)
            return
        sealed = await hsm.import_material(order)
        evidence = await hsm.inspect_material(owner, sealed.record)
        assert evidence.length_bits == owner.edition.material_bits
        assert evidence.fingerprint.matches(sealed.fingerprint)
        assert plaintext not in sealed.record

    async def test_only_the_edition_s_length_is_accepted_of_all_from_0_to_64_bytes(
        self, hsm: Hsm, owner: RecordIdentity
    ) -> None:
        pair = await shared_pair(hsm, owner.edition)
        right = owner.edition.material_bytes
        accepted = []
        for length in range(65):
            # K of random bytes, and a twin that ends in zeros as if a shorter K had been padded
            short = outside.throw_away(length * 3 // 4)
            for plaintext in (outside.throw_away(length), short.ljust(length, b"\0")):
                order = await self.order(hsm, owner, plaintext, pair=pair)
                if await self.length_is_right(hsm, order):
                    accepted.append(length)
        assert accepted == [right, right]

    @pytest.mark.parametrize("length", [0, 1, 15, 17, 24, 31, 33, 48, 64])
    async def test_a_key_and_the_same_key_padded_with_zeros_are_never_taken_for_each_other(
        self, hsm: Hsm, owner: RecordIdentity, length: int
    ) -> None:
        pair = await shared_pair(hsm, owner.edition)
        right = owner.edition.material_bytes
        key = outside.throw_away(min(length, right))
        of_the_right_length, of_this_length = key.ljust(right, b"\0"), key.ljust(length, b"\0")
        await hsm.import_material(await self.order(hsm, owner, of_the_right_length, pair=pair))
        with pytest.raises(MaterialLengthWrong):
            await hsm.import_material(await self.order(hsm, owner, of_this_length, pair=pair))

    async def test_with_pkcs1_v1_5_a_wrong_length_looks_like_a_failed_decryption(
        self, hsm: Hsm, owner: RecordIdentity
    ) -> None:
        pair = await shared_pair(hsm, owner.edition)
        for length in {0, 1, 15, 16, 17, 24, 31, 32, 33, 48, 64} - {owner.edition.material_bytes}:
            order = await self.order(hsm, owner, outside.throw_away(length), PKCS1, pair)
            with pytest.raises(MaterialUndecryptable):
                await hsm.import_material(order)

    @pytest.mark.parametrize(
        "ciphertext",
        [
            pytest.param(b"", id="empty"),
            pytest.param(bytes(WRAPPING_KEY_BYTES - 1), id="too short"),
            pytest.param(bytes(WRAPPING_KEY_BYTES + 1), id="too long"),
            pytest.param(bytes(WRAPPING_KEY_BYTES), id="zero"),
            pytest.param(bytes(WRAPPING_KEY_BYTES - 1) + b"\x01", id="one"),
            pytest.param(b"\x00" + b"\x5a" * (WRAPPING_KEY_BYTES - 1), id="junk"),
            pytest.param(b"\xff" * WRAPPING_KEY_BYTES, id="not below the modulus"),
        ],
    )
    async def test_what_is_no_ciphertext_is_undecryptable(
        self, hsm: Hsm, owner: RecordIdentity, ciphertext: bytes
    ) -> None:
        order = await self.order(hsm, owner, outside.throw_away(owner.edition.material_bytes))
        with pytest.raises(MaterialUndecryptable):
            await hsm.import_material(replace(order, ciphertext=ciphertext))

    async def test_a_damaged_or_misdirected_ciphertext_is_undecryptable(
        self, hsm: Hsm, owner: RecordIdentity, edition: Edition
    ) -> None:
        plaintext = outside.throw_away(edition.material_bytes)
        order = await self.order(hsm, owner, plaintext)
        for_another = await self.order(hsm, owner, plaintext, pair=await new_pair(hsm, edition))
        wrong = [
            replace(order, ciphertext=outside.damage(order.ciphertext)),
            replace(order, ciphertext=b"\x00" + order.ciphertext[1:]),
            replace(order, ciphertext=b"\x00" + for_another.ciphertext[1:]),
        ]
        for each in wrong:
            with pytest.raises(MaterialUndecryptable):
                await hsm.import_material(each)
        await hsm.import_material(order)

    async def test_another_algorithm_s_ciphertext_is_undecryptable(self, hsm: Hsm, owner: RecordIdentity) -> None:
        order = await self.order(hsm, owner, outside.throw_away(owner.edition.material_bytes), PKCS1)
        with pytest.raises(MaterialUndecryptable):
            await hsm.import_material(replace(order, algorithm=OAEP))

    # --- fingerprints ------------------------------------------------------------------------------------

    async def test_the_same_material_of_the_same_key_is_known_again_and_does_not_show(
        self, hsm: Hsm, owner: RecordIdentity
    ) -> None:
        plaintext = outside.throw_away(owner.edition.material_bytes)
        first = await hsm.import_material(await self.order(hsm, owner, plaintext))
        by_another_pair = await self.order(hsm, owner, plaintext, pair=await new_pair(hsm, owner.edition))
        second = await hsm.import_material(by_another_pair)
        assert first.fingerprint.matches(second.fingerprint)
        assert first.record != second.record

    async def test_other_material_or_another_key_has_another_fingerprint(
        self, hsm: Hsm, owner: RecordIdentity, edition: Edition
    ) -> None:
        plaintext = outside.throw_away(edition.material_bytes)
        first = await hsm.import_material(await self.order(hsm, owner, plaintext))
        last_bit = plaintext[:-1] + bytes((plaintext[-1] ^ 1,))
        elsewhere = replace(owner, account="bob")
        for other_owner, other in ((owner, last_bit), (owner_of(edition), plaintext), (elsewhere, plaintext)):
            sealed = await hsm.import_material(await self.order(hsm, other_owner, other))
            assert not sealed.fingerprint.matches(first.fingerprint)

    async def test_the_generation_of_a_key_is_not_part_of_its_fingerprint(
        self, hsm: Hsm, owner: RecordIdentity
    ) -> None:
        plaintext = outside.throw_away(owner.edition.material_bytes)
        later = replace(owner, generation=owner.generation + 1)
        first, second = [await hsm.import_material(await self.order(hsm, each, plaintext)) for each in (owner, later)]
        assert first.fingerprint.matches(second.fingerprint)

    # --- generated material --------------------------------------------------------------------------------

    async def test_generated_material_is_sealed_like_imported(self, hsm: Hsm, owner: RecordIdentity) -> None:
        first, second = [await hsm.generate_material(owner) for _ in range(2)]
        assert not first.fingerprint.matches(second.fingerprint)
        evidence = await hsm.inspect_material(owner, first.record)
        assert evidence.length_bits == owner.edition.material_bits
        assert evidence.fingerprint.matches(first.fingerprint)

    # --- records -------------------------------------------------------------------------------------------

    async def test_evidence_says_what_the_token_says(self, hsm: Hsm, owner: RecordIdentity) -> None:
        evidence = await hsm.inspect_material(owner, (await hsm.generate_material(owner)).record)
        said = {name: evidence.attributes[name] for name in ("SENSITIVE", "EXTRACTABLE", "LOCAL")}
        assert said == {"SENSITIVE": True, "EXTRACTABLE": False, "LOCAL": False}
        assert evidence.length_proof

    async def test_a_record_of_material_opens_for_its_owner_only(self, hsm: Hsm, owner: RecordIdentity) -> None:
        record = (await hsm.generate_material(owner)).record
        for other in others(owner):
            with pytest.raises(RecordBroken):
                await hsm.inspect_material(other, record)

    async def test_a_record_of_which_any_byte_was_changed_does_not_open(self, hsm: Hsm, owner: RecordIdentity) -> None:
        record = (await hsm.generate_material(owner)).record
        for at in range(len(record)):
            with pytest.raises(RecordBroken):
                await hsm.inspect_material(owner, changed(record, at))

    @pytest.mark.parametrize("length", [0, 1, 12, 16, 32, -16, -1])
    async def test_a_record_cut_short_does_not_open(self, hsm: Hsm, owner: RecordIdentity, length: int) -> None:
        record = (await hsm.generate_material(owner)).record
        with pytest.raises(RecordBroken):
            await hsm.inspect_material(owner, record[:length])

    async def test_a_pair_s_record_opens_for_its_pair_only_and_unchanged_only(
        self, hsm: Hsm, owner: RecordIdentity
    ) -> None:
        order = await self.order(hsm, owner, outside.throw_away(owner.edition.material_bytes))
        broken = [
            replace(order, pair=replace(order.pair, owner=str(uuid.uuid4()))),
            replace(order, pair_record=changed(order.pair_record, len(order.pair_record) // 2)),
            replace(order, pair_record=changed(order.pair_record, -1 % len(order.pair_record))),
            replace(order, pair_record=order.pair_record[:-1]),
        ]
        for each in broken:
            with pytest.raises(RecordBroken):
                await hsm.import_material(each)
        await hsm.import_material(order)

    # --- seals and cuts ------------------------------------------------------------------------------------

    @pytest.mark.parametrize("node", ["", "node-1"])
    async def test_a_seal_is_one_over_its_head_only(self, hsm: Hsm, node: str) -> None:
        await self.require_of_its_head_only(hsm.seal_head, hsm.holds_seal, node)

    @pytest.mark.parametrize("node", ["", "node-1"])
    async def test_a_cut_is_one_after_its_head_only(self, hsm: Hsm, node: str) -> None:
        await self.require_of_its_head_only(hsm.cut_after, hsm.holds_cut, node)

    @staticmethod
    async def require_of_its_head_only(
        make: Callable[[str, AuditHead], Awaitable[bytes]],
        holds: Callable[[str, AuditHead, bytes], Awaitable[bool]],
        node: str,
    ) -> None:
        head = AuditHead(2**40, bytes(range(32)), node)
        mac = await make("d", head)
        assert len(mac) == MAC_BYTES
        assert mac == await make("d", head)
        assert await holds("d", head, mac)
        for other in (
            replace(head, sequence=2**40 + 1),
            replace(head, digest=bytes(32)),
            replace(head, node="node-2"),
            replace(head, node="" if node else "node-1"),
        ):
            assert not await holds("d", other, mac)
        assert not await holds("another", head, mac)
        for at in range(MAC_BYTES):
            assert not await holds("d", head, changed(mac, at))

    @pytest.mark.parametrize("node", ["", "node-1"])
    async def test_a_seal_is_no_cut_and_a_cut_no_seal(self, hsm: Hsm, node: str) -> None:
        head = AuditHead(2**40, bytes(range(32)), node)
        sealed, cut = await hsm.seal_head("d", head), await hsm.cut_after("d", head)
        assert not await hsm.holds_cut("d", head, sealed)
        assert not await hsm.holds_seal("d", head, cut)

    # --- credentials ---------------------------------------------------------------------------------------

    @pytest.mark.parametrize("size", [1, 15, 16, 32, 40, 200])
    async def test_a_secret_comes_back_as_it_was(self, hsm: Hsm, edition: Edition, size: int) -> None:
        identity = of_credential(ALICE, AccessId("AKIDexample"), edition)
        secret = SecretKey(outside.throw_away(size))
        first, second = [await hsm.protect_secret(identity, secret) for _ in range(2)]
        assert await hsm.open_secret(identity, first) == secret
        assert first != second
        assert size < 8 or secret.reveal() not in first

    async def test_a_secret_opens_for_its_access_id_only_and_unchanged_only(self, hsm: Hsm, edition: Edition) -> None:
        identity = of_credential(ALICE, AccessId("AKIDexample"), edition)
        record = await hsm.protect_secret(identity, SecretKey(b"a secret of thirty-two characters"))
        for other in others(identity):
            with pytest.raises(RecordBroken):
                await hsm.open_secret(other, record)
        for at in range(len(record)):
            with pytest.raises(RecordBroken):
                await hsm.open_secret(identity, changed(record, at))

    async def test_a_record_of_material_is_no_secret(self, hsm: Hsm, owner: RecordIdentity) -> None:
        record = (await hsm.generate_material(owner)).record
        with pytest.raises(RecordBroken):
            await hsm.open_secret(of_credential(ALICE, AccessId("AKIDexample"), owner.edition), record)
