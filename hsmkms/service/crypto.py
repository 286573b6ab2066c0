"""Use cases with a key's material: encrypt, decrypt, re-encrypt, make data keys; and random bytes.

Laws:

- a ciphertext that does not decrypt is one error, whatever is wrong: form, key, generation, context, tag, or a key of
  another account; but a credential that is limited to some keys hears that of every ciphertext of any other;
- a use is counted before the token is called, and never given back;
- what the token must do, it does or the request is refused: there is no other cipher to fall back on;
- no plaintext is kept or logged; re-encryption does not bring it into this process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsmkms.core import ciphertexts, records
from hsmkms.core.errors import CipherNotOffered, CiphertextInvalid, KeyNotFound
from hsmkms.core.keys import KeyAction
from hsmkms.core.ports import HeldMaterial
from hsmkms.service.commands import DataKeyMade, Decrypted, Encrypted, RandomMade, ReEncrypted
from hsmkms.service.rows import answered, permitted_key

if TYPE_CHECKING:
    from hsmkms.core.ciphertexts import CipherAlgorithm
    from hsmkms.core.credentials import Caller
    from hsmkms.core.ids import KeyId
    from hsmkms.core.keys import StatePolicy
    from hsmkms.core.material import Edition
    from hsmkms.core.ports import Clock, Hsm, KeyReading, Store
    from hsmkms.service.commands import Decrypt, Encrypt, MakeDataKey, MakeRandom, ReEncrypt
    from hsmkms.service.uses import UseCounter


class CryptoUseCases:
    """What callers do with the material of keys."""

    def __init__(self, store: Store, hsm: Hsm, clock: Clock, edition: Edition, uses: UseCounter) -> None:
        """Work on `store` and `hsm`, with material of `edition`, counting into `uses`."""
        self._store = store
        self._hsm = hsm
        self._clock = clock
        self._edition = edition
        self._uses = uses

    @property
    def ciphers(self) -> frozenset[CipherAlgorithm]:
        """How the token was seen to encrypt."""
        return self._hsm.ciphers

    async def encrypt(self, caller: Caller, command: Encrypt) -> Encrypted:
        """Encrypt with a key.

        Raises:
            KeyOutOfScope, KeyNotFound: by `existing_key`.
            KeyStateForbids: its state does not allow it.
            CipherNotOffered: the token does not do the edition's cipher.
            KeyUsedUp: the key has encrypted as often as one may.
        """
        material = await self._to_encrypt(caller, command.key_id, command.policy)
        ciphertext = await self._hsm.encrypt(material, command.plaintext, command.context)
        return Encrypted(command.key_id, ciphertext)

    async def decrypt(self, caller: Caller, command: Decrypt) -> Decrypted:
        """Decrypt with the key that the ciphertext names.

        Raises:
            KeyOutOfScope: the caller's credential is limited to others.
            CiphertextInvalid: it does not decrypt.
            KeyStateForbids: the key's state does not allow it.
            CipherNotOffered: the token does not do the edition's cipher.
        """
        key_id, material = await self._to_decrypt(caller, command)
        plaintext = await self._hsm.decrypt(material, command.ciphertext, command.context)
        return Decrypted(key_id, plaintext)

    async def re_encrypt(self, caller: Caller, command: ReEncrypt) -> ReEncrypted:
        """Decrypt, and encrypt with another key or context; with the same ones only make sure that it decrypts.

        Raises:
            KeyOutOfScope: the caller's credential is limited to others than one of the keys.
            KeyNotFound: the target is no key of this account.
            CiphertextInvalid: the ciphertext does not decrypt.
            KeyStateForbids: the state of one of the keys does not allow it.
            CipherNotOffered: the token does not do the edition's cipher.
            KeyUsedUp: the target has encrypted as often as a key may.
        """
        source_id, source = await self._to_decrypt(caller, command)
        target_id = command.target or source_id
        if target_id == source_id and command.target_context == command.context:
            await self._hsm.require_decryptable(source, command.ciphertext, command.context)
            return ReEncrypted(source_id, target_id, command.ciphertext, changed=False)
        target = await self._to_encrypt(caller, target_id, command.policy)
        ciphertext = await self._hsm.re_encrypt(
            source, command.ciphertext, command.context, target, command.target_context
        )
        return ReEncrypted(source_id, target_id, ciphertext, changed=True)

    async def make_data_key(self, caller: Caller, command: MakeDataKey) -> DataKeyMade:
        """Make a data key in the token, encrypted with a key.

        Raises:
            KeyOutOfScope, KeyNotFound, KeyStateForbids, CipherNotOffered, KeyUsedUp: as `encrypt`.
        """
        material = await self._to_encrypt(caller, command.key_id, command.policy)
        made = await self._hsm.make_data_key(material, command.size, command.context, shown=command.shown)
        return DataKeyMade(command.key_id, made.ciphertext, made.plaintext)

    async def make_random(self, _caller: Caller, command: MakeRandom) -> RandomMade:
        """Return random bytes of the token."""
        return RandomMade(await self._hsm.random(command.size))

    def _require_cipher(self) -> None:
        needed = ciphertexts.OF_EDITION[self._edition]
        if needed not in self._hsm.ciphers:
            raise CipherNotOffered(needed)

    async def _to_encrypt(self, caller: Caller, key_id: KeyId, policy: StatePolicy) -> HeldMaterial:
        """Return the material to encrypt with, its use counted."""
        material = await self._material(caller, key_id, KeyAction.ENCRYPT, policy)
        self._require_cipher()
        await self._uses.take(key_id)
        return material

    async def _to_decrypt(self, caller: Caller, command: Decrypt | ReEncrypt) -> tuple[KeyId, HeldMaterial]:
        """Return the key that a ciphertext names, and its material."""
        head = ciphertexts.parse(command.ciphertext).head
        if command.key_id not in {None, head.key_id}:
            raise CiphertextInvalid
        try:
            material = await self._material(caller, head.key_id, KeyAction.DECRYPT, command.policy)
        except KeyNotFound:
            raise CiphertextInvalid from None
        self._require_cipher()
        if ciphertexts.head_of(material.owner) != head:
            raise CiphertextInvalid
        return head.key_id, material

    async def _material(self, caller: Caller, key_id: KeyId, action: KeyAction, policy: StatePolicy) -> HeldMaterial:
        def hold(reading: KeyReading) -> HeldMaterial:
            now = self._clock.now()
            key = permitted_key(reading, caller, key_id, action, policy, now)
            owner = records.of_material(key.account, key.key_id, self._edition, key.generation)
            return HeldMaterial(owner, key.usable_material(action, now).record)

        return await answered(self._store, caller, key_id, hold)
