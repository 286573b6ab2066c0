"""Commands that name a key, of every kind there is, and callers whose credential is limited to some keys."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from hsmkms.core.ciphertexts import CipherAlgorithm, Head
from hsmkms.core.credentials import KeyScope
from hsmkms.core.ids import KeyId
from hsmkms.core.keys import Origin
from hsmkms.core.secrets import ImportToken, Plaintext
from hsmkms.service import commands
from hsmkms.service.commands import CreateKey, KeyShown
from tests.service.house import OAEP

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hsmkms.core.credentials import Caller
    from hsmkms.service.commands import Command
    from tests.service.house import House

TEAM: Final = {"team": "cards", "env": "prod"}
"""Tags of a key that is in the scope of those who are limited by a tag."""
OTHER_TEAM: Final = {"team": "loans", "env": "prod", "cards": "team"}
NO_KEY: Final = KeyId("0d0466b0-e727-4d9c-b35d-f84bb474a37f")
_CIPHERTEXT_BYTES: Final = 182


def ciphertext_of(key_id: KeyId) -> bytes:
    """Return what has the form of a ciphertext of a key, and decrypts with none."""
    return Head(CipherAlgorithm.AES_256_GCM, key_id, 1).packed().ljust(_CIPHERTEXT_BYTES, b"\x01")


NAMING_A_KEY: Final[Mapping[str, Callable[[KeyId], Command]]] = {
    "describe": commands.DescribeKey,
    "describe-one-of-several": lambda key_id: commands.DescribeKeys((key_id,)),
    "get-parameters": lambda key_id: commands.GetImportParameters(key_id, OAEP, "WrappingAlgorithm"),
    "import": lambda key_id: commands.ImportMaterial(key_id, ImportToken(b"A" * 256), b"\x01" * 256, None),
    "delete-material": commands.DeleteMaterial,
    "enable": lambda key_id: commands.SwitchKey(key_id, on=True),
    "disable": lambda key_id: commands.SwitchKey(key_id, on=False),
    "enable-several": lambda key_id: commands.SwitchKeys((key_id,), on=True),
    "relabel": lambda key_id: commands.RelabelKey(key_id, alias=f"renamed-{key_id}", description="another"),
    "schedule": lambda key_id: commands.ScheduleDeletion(key_id, 7),
    "cancel": commands.CancelDeletion,
    "archive": lambda key_id: commands.ArchiveKey(key_id, archived=True),
    "unarchive": lambda key_id: commands.ArchiveKey(key_id, archived=False),
    "rotate": commands.EnableRotation,
    "encrypt": lambda key_id: commands.Encrypt(key_id, Plaintext(b"x")),
    "decrypt": lambda key_id: commands.Decrypt(ciphertext_of(key_id)),
    "decrypt-by-name": lambda key_id: commands.Decrypt(ciphertext_of(key_id), key_id=key_id),
    "re-encrypt": lambda key_id: commands.ReEncrypt(ciphertext_of(key_id)),
    "data-key": lambda key_id: commands.MakeDataKey(key_id, 32),
}
NAMING_NONE: Final = frozenset((commands.CreateKey, commands.ListKeys, commands.MakeRandom, commands.DescribeService))


@dataclass(frozen=True)
class Limited:
    """A deployment with keys in and out of the scope of two callers."""

    house: House
    inside: KeyId
    outside: KeyId
    foreign: KeyId
    """Of another account, with the tags that the scope asks for."""
    by_id: Caller
    by_tag: Caller

    @classmethod
    async def make(cls, house: House) -> Limited:
        """Make a generated key of each kind: it can be used at once."""
        inside, outside = [await tagged(house, tags) for tags in (TEAM, OTHER_TEAM)]
        foreign = await tagged(house, TEAM, house.stranger)
        by_id = limited(house.caller, KeyScope(frozenset((inside,))))
        by_tag = limited(house.caller, KeyScope(tags=frozenset((("team", "cards"), ("team", "cash")))))
        return cls(house, inside, outside, foreign, by_id, by_tag)

    @property
    def out_of_reach(self) -> tuple[KeyId, ...]:
        """Key ids that must all be answered alike."""
        return self.outside, self.foreign, NO_KEY


def limited(caller: Caller, scope: KeyScope) -> Caller:
    """Return the caller with a credential that is limited to some keys."""
    return replace(caller, scope=scope)


_made = 0


async def tagged(
    house: House, tags: Mapping[str, str], caller: Caller | None = None, origin: Origin = Origin.GENERATED
) -> KeyId:
    """Make a key with tags."""
    global _made  # noqa: PLW0603 - an alias that no other key has
    _made += 1
    shown = await house.service.execute(caller or house.caller, CreateKey(f"tagged-{_made}", origin=origin, tags=tags))
    assert isinstance(shown, KeyShown)
    return shown.key.key_id
