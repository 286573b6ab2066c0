"""What a field of a request may hold: what the service takes, what it nearly takes, and what makes no sense.

Each documented field has a kind; what a kind holds when it is sound is here. Values that only a running service knows
(its key ids, import tokens, ciphertexts) are drawn as `Live`, a place in the `fuzz_stock.Stock`, so that what is drawn
never depends on the service, and the same seed draws the same requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st

from tests.e2e.fuzz_flaws import FLAWS, Live
from tests.e2e.fuzz_values import ABSURD, PLAIN, STRANGE_TEXTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Draw = Callable[[st.SearchStrategy[object]], object]


LIVE: Final = (
    *("key", "keys", "import_token", "material", "ciphertext", "hexadecimal", "data_key", "data_key_size", "size"),
    *("context_text", "context_pairs", "origin"),
)
"""What the service knows: the methods of `Stock`."""

KINDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("KeyId", "DestinationKeyId", "key_id", "destination_key_id"), "key"),
    "KeyIds": "keys",
    "source_key_id": "origin",
    **dict.fromkeys(("ImportToken", "import_token"), "import_token"),
    **dict.fromkeys(("EncryptedKeyMaterial", "encrypted_key_material"), "material"),
    **dict.fromkeys(("CiphertextBlob", "cipher_text"), "ciphertext"),
    **dict.fromkeys(("Alias", "key_alias"), "alias"),
    **dict.fromkeys(("Description", "SearchKeyAlias", "key_description", "name", "plain_text"), "text"),
    "additional_authenticated_data": "text",
    "source_additional_authenticated_data": "text",
    "destination_additional_authenticated_data": "text",
    "Plaintext": "base64",
    **dict.fromkeys(("EncryptionContext", "SourceEncryptionContext", "DestinationEncryptionContext"), "context"),
    "encryption_context": "pairs",
    "Tags": "tags",
    "TagFilters": "filters",
    "sequence": "sequence",
    **dict.fromkeys(("Type", "Offset", "Limit", "Role", "OrderType", "KeyState", "NumberOfBytes"), "integer"),
    **dict.fromkeys(("PendingWindowInDays", "RotateDays", "ValidTo", "IsHostedByKms", "limit", "marker"), "integer"),
    **dict.fromkeys(("pending_days", "expiration_time", "datakey_length", "random_data_length"), "integer"),
    **dict.fromkeys(("datakey_plain_length", "datakey_cipher_length", "key_state"), "integer"),
    **dict.fromkeys(("KeyUsage", "Origin", "WrappingAlgorithm", "WrappingKeySpec", "KeySpec"), "name"),
    **dict.fromkeys(("key_spec", "key_usage", "origin", "wrapping_algorithm", "encryption_algorithm"), "name"),
    **dict.fromkeys(("source_encryption_algorithm", "destination_encryption_algorithm"), "name"),
    **dict.fromkeys(("HsmClusterId", "MemberAccount", "MemberAccounts", "EncryptionPublicKey"), "not offered"),
    **dict.fromkeys(("EncryptionAlgorithm", "DataKeyName", "enterprise_project_id", "keystore_id"), "not offered"),
    **dict.fromkeys(("vm_id", "realm", "encrypted_privatekey", "pin", "pin_type"), "not offered"),
}
"""What each documented field of either cloud holds."""

KINDS_OF: Final[Mapping[str, Mapping[str, str]]] = {
    "Decrypt": {"EncryptionContext": "context_text"},
    "ReEncrypt": {"SourceEncryptionContext": "context_text"},
    "decrypt-data": {"encryption_context": "context_pairs", "key_id": "origin", "additional_authenticated_data": ""},
    "re-encrypt": {"source_additional_authenticated_data": "", "datakey_cipher_length": "not offered"},
    "encrypt-datakey": {"plain_text": "data_key", "datakey_plain_length": "data_key_size", "key_spec": ""},
    "decrypt-datakey": {
        "cipher_text": "hexadecimal",
        "datakey_cipher_length": "size",
        "encryption_context": "context_pairs",
        "key_id": "origin",
        "additional_authenticated_data": "",
    },
}
"""Where an action's field holds something else; "": nothing, when it is sound."""

_LATE: Final = 2_147_443_200
"""A time that is almost too late for both clouds."""
_ALGORITHMS: Final = ("RSAES_OAEP_SHA_1",)
_SPECS: Final = ("", "AES_256", "AES_128")

CHOICES: Final[Mapping[str, tuple[object, ...]]] = {
    "WrappingAlgorithm": _ALGORITHMS,
    "WrappingKeySpec": ("RSA_2048",),
    "Type": (2, "2", 1),
    "KeyUsage": ("ENCRYPT_DECRYPT", ""),
    "Origin": ("", "ALL", "TENCENT_KMS", "EXTERNAL"),
    "KeySpec": _SPECS[1:],
    "Offset": (0, 1, "7", 2**31 - 1),
    "Limit": (10, 1, 200),
    **dict.fromkeys(("Role", "OrderType"), (0, "0", 1)),
    "KeyState": tuple(range(6)),
    "NumberOfBytes": (32, 1, "16", 1024),
    "PendingWindowInDays": (7, "30"),
    "RotateDays": (7, 365),
    **dict.fromkeys(("ValidTo", "expiration_time"), (0, "", _LATE, str(_LATE))),
    "IsHostedByKms": (0,),
    "MemberAccount": ({},),
    "MemberAccounts": ([],),
    "SearchKeyAlias": ("", "a"),
    **dict.fromkeys(("Description", "key_description"), ("", "a", "\u5bc6\u94a5", "x" * 255)),
    "name": ("on-prem", ""),
    "key_spec": ("AES_256",),
    "key_usage": ("ENCRYPT_DECRYPT",),
    "origin": ("external", "kms"),
    "key_state": ("1", 2, "3", "4", "5"),
    "wrapping_algorithm": _ALGORITHMS,
    "limit": ("10", 1, 1000),
    "marker": (0, "1", 2**31 - 1),
    "pending_days": ("7", 1096),
    **dict.fromkeys(("datakey_length", "random_data_length"), ("256", 8, 8192)),
    **dict.fromkeys(
        ("encryption_algorithm", "source_encryption_algorithm", "destination_encryption_algorithm"),
        ("", "SYMMETRIC_DEFAULT"),
    ),
    **dict.fromkeys(("enterprise_project_id", "keystore_id"), ("", "0")),
    **dict.fromkeys(
        ("additional_authenticated_data", "destination_additional_authenticated_data"), ("", "b/c", "x" * 128)
    ),
}
"""What a sound request holds where its field takes less than its kind: most of them get past the checks of fields."""
_CHOSEN: Final = {field: st.sampled_from(values) for field, values in CHOICES.items()}


def kind_of(action: str, field: str) -> str:
    """Return the kind of a field of an action."""
    return KINDS_OF.get(action, {}).get(field, KINDS[field])


def sound(draw: Draw, action: str, field: str, number: int) -> object:
    """Draw what the service takes; `number` says which key of the stock a request is about."""
    kind = kind_of(action, field)
    if kind in LIVE:
        return Live(kind, number)
    if kind in {"", "not offered"} and field not in CHOICES:
        return ""
    return draw(_CHOSEN.get(field, PLAIN[kind].sound)) if kind else ""


def spoilt(draw: Draw, action: str, field: str, number: int) -> object:
    """Draw what the service nearly takes, or what makes no sense."""
    kind = kind_of(action, field)
    way = draw(_WAYS)
    if way == "absurd" or not kind:
        return draw(ABSURD)
    if kind in LIVE:
        return draw(STRANGE_TEXTS) if way == "near" else Live(kind, number, str(draw(_FLAWS)), _integer(draw(_PLACES)))
    return draw(PLAIN[kind].near)


_WAYS: Final = st.sampled_from(("spoilt", "near", "spoilt", "absurd"))
_FLAWS: Final = st.sampled_from(sorted(FLAWS))
_PLACES: Final = st.integers(0, 9999)


def _integer(value: object) -> int:
    assert isinstance(value, int)
    return value
