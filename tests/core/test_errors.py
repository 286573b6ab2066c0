"""Laws of hsmkms/core/errors.py: the shape of the tree, and what a message may say."""

from __future__ import annotations

import re

import pytest

from hsmkms.core import errors
from hsmkms.core.errors import (
    AliasInvalid,
    CallerFault,
    CipherNotOffered,
    CiphertextSizeWrong,
    ClientFault,
    CredentialUnknown,
    EventUnreadable,
    ExpiryInvalid,
    FieldInvalid,
    FieldMissing,
    FieldUnknown,
    HsmkmsError,
    ImportTokenOver,
    KeyStateForbids,
    MaterialLengthWrong,
    NotOffered,
    OperatorFault,
    RequestRateExceeded,
    RoleMissing,
    ServiceFault,
    TicketEnd,
    TooManyKeys,
    leaves,
)
from hsmkms.core.ids import to_seconds
from hsmkms.core.keys import LATEST_EXPIRY

EXAMPLES: dict[type[HsmkmsError], HsmkmsError] = {
    FieldMissing: FieldMissing("KeyId"),
    FieldUnknown: FieldUnknown("Colour"),
    FieldInvalid: FieldInvalid("Limit", "it must be from 0 to 200."),
    NotOffered: NotOffered("WrappingAlgorithm", ("RSAES_OAEP_SHA_256",)),
    KeyStateForbids: KeyStateForbids("Disabled", "import key material", ("Enabled", "PendingImport")),
    ImportTokenOver: ImportTokenOver(TicketEnd.SPENT),
    CiphertextSizeWrong: CiphertextSizeWrong(256),
    MaterialLengthWrong: MaterialLengthWrong(256),
    TooManyKeys: TooManyKeys(20),
    CipherNotOffered: CipherNotOffered("SM4_GCM"),
    EventUnreadable: EventUnreadable(7),
    RoleMissing: RoleMissing(("admin", "user")),
    RequestRateExceeded: RequestRateExceeded("this", 0.5),
}
GROUPS: set[type] = {CallerFault, ServiceFault, OperatorFault, ClientFault}
LEAVES: list[type[HsmkmsError]] = sorted(leaves(HsmkmsError), key=repr)
CALLERS: list[type[HsmkmsError]] = sorted(leaves(CallerFault), key=repr)
FORBIDDEN = re.compile(r"CKR|CKA_|PKCS ?#?11|\b[45]\d\d\b|Traceback|sqlite|sqlalchemy|aiohttp", re.IGNORECASE)


def example(leaf: type[HsmkmsError]) -> HsmkmsError:
    return EXAMPLES[leaf] if leaf in EXAMPLES else leaf()


@pytest.mark.parametrize("leaf", LEAVES)
def test_every_leaf_says_one_whole_sentence_or_more(leaf: type[HsmkmsError]) -> None:
    message = example(leaf).message
    assert message == str(example(leaf))
    assert message[0].isupper()
    assert message.endswith(".")
    assert len(message) > 20


@pytest.mark.parametrize("leaf", LEAVES)
def test_no_message_speaks_of_a_device_a_wire_or_a_library(leaf: type[HsmkmsError]) -> None:
    assert FORBIDDEN.findall(example(leaf).message) == []


@pytest.mark.parametrize("leaf", CALLERS)
def test_every_fault_of_the_caller_says_more_than_that_it_failed(leaf: type[HsmkmsError]) -> None:
    assert example(leaf).message != HsmkmsError.text


@pytest.mark.parametrize("leaf", LEAVES)
def test_every_leaf_belongs_to_exactly_one_group(leaf: type[HsmkmsError]) -> None:
    assert len(GROUPS.intersection(leaf.__mro__)) == 1


def test_the_tree_is_a_tree_of_four_groups_and_all_of_it_is_in_one_module() -> None:
    classes = {each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, HsmkmsError)}
    assert set(HsmkmsError.__subclasses__()) == {CallerFault, ServiceFault, OperatorFault, ClientFault}
    for each in classes:
        assert len(each.__bases__) == 1
        assert each.__doc__
    assert leaves(HsmkmsError) == {each for each in classes if not each.__subclasses__()}


def test_no_class_carries_a_status_or_a_code() -> None:
    for each in leaves(HsmkmsError):
        for above in each.__mro__:
            assert not {"status", "code", "http_status", "ckr"} & set(vars(above))


def test_a_message_of_ones_own_replaces_that_of_the_class() -> None:
    assert AliasInvalid("Use an alias of letters only.").message == "Use an alias of letters only."
    assert AliasInvalid().message == AliasInvalid.text


def test_a_field_fault_names_its_field() -> None:
    for fault in (
        FieldMissing("KeyId"),
        FieldUnknown("KeyId"),
        FieldInvalid("KeyId", "too long."),
        NotOffered("KeyId"),
    ):
        assert fault.field == "KeyId"
        assert "KeyId" in fault.message


def test_what_is_offered_is_named_in_the_order_given() -> None:
    assert "Offered: B, A." in NotOffered("F", ("B", "A")).message
    assert NotOffered("F", ()).message == "The value of F is not offered by this service."
    assert NotOffered("F").message == "The parameter F is not offered by this service; leave it out."


def test_a_state_fault_names_the_state_the_action_and_the_states_that_allow_it() -> None:
    assert EXAMPLES[KeyStateForbids].message == (
        "The key is Disabled; to import key material it must be Enabled or PendingImport."
    )


def test_a_state_fault_carries_the_state_and_the_action_for_dialects_that_word_it_themselves() -> None:
    fault = KeyStateForbids("Disabled", "import key material", ("Enabled",))
    assert (fault.state, fault.action) == ("Disabled", "import key material")


def test_the_number_of_keys_that_an_account_may_have_is_named() -> None:
    assert "20 keys" in TooManyKeys(20).message


def test_the_cipher_that_the_token_lacks_is_named() -> None:
    assert "does not offer SM4_GCM." in EXAMPLES[CipherNotOffered].message


def test_the_length_needed_is_named_in_bits_and_bytes() -> None:
    assert "exactly 128 bits (16 bytes)" in MaterialLengthWrong(128).message
    assert "exactly 256 bytes" in CiphertextSizeWrong(256).message


@pytest.mark.parametrize("end", TicketEnd)
def test_every_end_of_a_ticket_says_why_and_what_to_do(end: TicketEnd) -> None:
    fault = ImportTokenOver(end)
    assert fault.end is end
    assert end.value in fault.message
    assert "Get new import parameters." in fault.message


def test_a_refused_expiry_is_told_both_bounds() -> None:
    assert "later than now" in ExpiryInvalid.text
    assert f"at most {to_seconds(LATEST_EXPIRY)} (Unix seconds)" in ExpiryInvalid.text


def test_an_unknown_access_id_is_called_as_each_cloud_calls_it() -> None:
    assert "access key id (secret id)" in CredentialUnknown.text
