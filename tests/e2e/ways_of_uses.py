"""Requests to use a key, and on its life, that both clouds refuse: for what key, state, ciphertext or token are."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

from tests.e2e.forgeries import flipped, forged, moved
from tests.e2e.ways import Attempt, Codes, WorldT, add, reaches
from tests.e2e.ways_of_ceremony import in_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.cloud_client import CloudClient, Failure
    from tests.e2e.worlds import World

    AnyWorld = World[CloudClient]
    Use = Callable[[AnyWorld, str], Failure]

PLAINTEXT: Final = b"a secret"

# --- which key ------------------------------------------------------------------------------------------

USES: Final[dict[str, Use]] = {
    "encrypt": lambda world, key_id: world.client.failure(world.client.encrypt, key_id, PLAINTEXT),
    "make_a_data_key": lambda world, key_id: world.client.failure(world.client.data_key, key_id),
    "schedule_deletion": lambda world, key_id: world.client.failure(world.client.schedule_deletion, key_id),
    "cancel_deletion": lambda world, key_id: world.client.failure(world.client.cancel_deletion, key_id),
    "ask_for_rotation": lambda world, key_id: world.client.failure(world.client.is_rotated, key_id),
}


def _decrypt(world: AnyWorld, key_id: str) -> Failure:
    return world.client.failure(world.client.decrypt, forged(key_id))


def naming(use: Callable[[WorldT, str], Failure], key_id_of: Callable[[WorldT], str]) -> Callable[[WorldT], Attempt]:
    """Return how a use of a key is prepared that the account does not have."""

    def prepare(world: WorldT) -> Attempt:
        key_id = key_id_of(world)
        return Attempt(lambda: use(world, key_id))

    return prepare


for _name, _use in USES.items():
    _malformed: Codes = {"tencent": "InvalidParameterValue.InvalidKeyId", "huawei": "KMS.0205"}
    add(f"{_name}_of_no_uuid", naming(_use, lambda _world: "alias/demo"), **_malformed)
    _absent: Codes = {"tencent": "ResourceUnavailable.CmkNotFound", "huawei": "KMS.0207"}
    add(f"{_name}_of_an_unknown_key", naming(_use, lambda _world: str(uuid.uuid4())), **_absent)
    add(f"{_name}_of_another_accounts_key", naming(_use, lambda world: world.stranger.generated_key()), **_absent)

# --- which state ----------------------------------------------------------------------------------------

_CODES: Final[dict[str, Codes]] = {
    "Disabled": {"tencent": "ResourceUnavailable.CmkDisabled", "huawei": "KMS.0209"},
    "PendingImport": {"tencent": "ResourceUnavailable.CmkStateNotSupport", "huawei": "KMS.0310"},
    "PendingDelete": {"tencent": "ResourceUnavailable.KeyPendingDelete", "huawei": "KMS.0210"},
    "Archived": {"tencent": "ResourceUnavailable.CmkArchived", "huawei": "KMS.0209"},
}


def _in_state(state: str, use: Use) -> Callable[[AnyWorld], Attempt]:
    return in_state(state, lambda world, key_id, _parameters: use(world, key_id))


for _state, _codes in _CODES.items():
    for _name in ("encrypt", "make_a_data_key"):
        add(f"{_name}_in_{_state}", _in_state(_state, USES[_name]), everywhere=True, **_codes)
    if _state != "Archived":
        add(f"decrypt_in_{_state}", _in_state(_state, _decrypt), everywhere=True, **_codes)
add(
    "schedule_deletion_in_PendingDelete",
    _in_state("PendingDelete", USES["schedule_deletion"]),
    tencent="ResourceUnavailable.CmkShouldBeDisabled",
    huawei="KMS.1402",
)
for _state in ("Enabled", "Disabled", "PendingImport", "Archived"):
    add(
        f"cancel_deletion_in_{_state}",
        _in_state(_state, USES["cancel_deletion"]),
        tencent="ResourceUnavailable.CmkNotPendingDelete",
        huawei="KMS.1501",
    )


@reaches(**_CODES["PendingImport"])
def an_archived_key_that_lost_its_material(world: AnyWorld) -> Attempt:
    key_id = world.enabled_key()
    world.archive(key_id)
    with world.database() as database:  # it expired: nobody may delete an archived key's material
        database.execute("UPDATE materials SET valid_to = 1 WHERE key_id = ?", (key_id,))
    return Attempt(lambda: _decrypt(world, key_id), says="The key is PendingImport")


@reaches(**_CODES["Disabled"], everywhere=False)
def re_encryption_to_a_key_that_is_disabled(world: AnyWorld) -> Attempt:
    key_id, disabled = world.enabled_key(), world.client.generated_key()
    ciphertext = world.client.encrypt(key_id, PLAINTEXT)
    world.client.disable(disabled)
    return Attempt(lambda: world.client.failure(world.client.re_encrypt, ciphertext, disabled), key_id)


# --- which ciphertext -----------------------------------------------------------------------------------

INVALID: Final[Codes] = {"tencent": "InvalidParameterValue.InvalidCiphertext", "huawei": "KMS.0308"}

_SPOILT: Final[dict[str, Callable[[bytes], bytes]]] = {
    "without_its_last_byte": lambda ciphertext: ciphertext[:-1],
    "with_a_byte_more": lambda ciphertext: ciphertext + b"\0",
    "with_another_tag": lambda ciphertext: flipped(ciphertext, len(ciphertext) - 1),
    "of_another_version": lambda ciphertext: flipped(ciphertext, 4),
    "of_an_unknown_key": lambda ciphertext: moved(ciphertext, str(uuid.uuid4())),
}


def _decrypts(spoil: Callable[[bytes], bytes]) -> Callable[[AnyWorld], Attempt]:
    def prepare(world: AnyWorld) -> Attempt:
        key_id = world.enabled_key()
        ciphertext = spoil(world.client.encrypt(key_id, PLAINTEXT))
        return Attempt(lambda: world.client.failure(world.client.decrypt, ciphertext), key_id, says="cannot be decr")

    return prepare


for _name, _spoil in _SPOILT.items():
    add(f"a_ciphertext_{_name}", _decrypts(_spoil), everywhere=False, **INVALID)


@reaches(**INVALID)
def a_ciphertext_that_is_none(world: AnyWorld) -> Attempt:
    return Attempt(lambda: world.client.failure(world.client.decrypt, b"no ciphertext"), says="cannot be decrypted")


@reaches(**INVALID)
def a_ciphertext_of_another_accounts_key(world: AnyWorld) -> Attempt:
    theirs = forged(world.stranger.generated_key())
    return Attempt(lambda: world.client.failure(world.client.decrypt, theirs), says="cannot be decrypted")


@reaches(**INVALID, everywhere=False)
def another_context(world: AnyWorld) -> Attempt:
    key_id = world.enabled_key()
    ciphertext = world.client.encrypt(key_id, PLAINTEXT, {"purpose": "test"})
    other = {"purpose": "Test"}
    return Attempt(lambda: world.client.failure(world.client.decrypt, ciphertext, other), key_id, says="context")


# --- how often, and where -------------------------------------------------------------------------------


@reaches(tencent="LimitExceeded.KeyLimitExceeded", huawei="KMS.0308", everywhere=False)
def a_key_that_is_used_up(world: AnyWorld) -> Attempt:
    key_id = world.enabled_key()
    world.use_up(key_id)
    return Attempt(lambda: USES["encrypt"](world, key_id), key_id, says="Create another key")


@reaches(tencent="UnsupportedOperation", huawei="KMS.0308", impatient=True)
def a_cipher_that_the_token_does_not_do(world: AnyWorld) -> Attempt:
    key_id = world.enabled_key()
    return Attempt(lambda: USES["encrypt"](world, key_id), key_id, says="does not offer SM4_GCM")
