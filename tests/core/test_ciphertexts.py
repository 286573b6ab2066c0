"""Laws of hsmkms/core/ciphertexts.py."""

from __future__ import annotations

import base64
import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hsmkms.core import ciphertexts, records
from hsmkms.core.ciphertexts import OF_EDITION, CipherAlgorithm, Ciphertext, Head
from hsmkms.core.errors import CiphertextInvalid
from hsmkms.core.ids import AccountName, KeyId
from hsmkms.core.material import Edition
from hsmkms.core.records import RecordIdentity
from hsmkms.core.secrets import Plaintext

KEY = KeyId("6d8b6a3e-0000-4000-8000-000000000001")
OWNER = records.of_material(AccountName("acme"), KEY, Edition.FIPS, 1)

HEADS = st.builds(
    Head,
    algorithm=st.sampled_from(CipherAlgorithm),
    key_id=st.uuids().map(lambda value: KeyId(str(value))),
    generation=st.integers(0, 2**32 - 1),
)
CIPHERTEXTS = st.builds(
    Ciphertext, head=HEADS, iv=st.binary(min_size=12, max_size=12), sealed=st.binary(min_size=80, max_size=300)
)
PLAINTEXTS = st.binary(max_size=200) | st.binary(min_size=4000, max_size=4096)
# A small alphabet with the bytes of a length prefix in it: collisions would be found at once.
TEXTS = st.text(alphabet="\0\1\4ab", max_size=6)
PAIRS = st.dictionaries(TEXTS, TEXTS, max_size=4)


# --- form ------------------------------------------------------------------------------------------------


@given(CIPHERTEXTS)
def test_what_is_packed_is_parsed_again(ciphertext: Ciphertext) -> None:
    assert ciphertexts.parse(ciphertext.packed()) == ciphertext


@given(st.binary(max_size=200) | st.binary(min_size=80, max_size=300).map(lambda rest: b"HKMS\1\1" + rest))
def test_what_can_be_parsed_is_packed_to_the_same_bytes(raw: bytes) -> None:
    try:
        parsed = ciphertexts.parse(raw)
    except CiphertextInvalid:
        return
    assert parsed.packed() == raw


def test_the_fields_are_where_the_document_has_them() -> None:
    head = Head(CipherAlgorithm.SM4_GCM, KEY, 0x01020304)
    raw = Ciphertext(head, b"i" * 12, b"s" * 64 + b"t" * 16).packed()
    assert raw == b"HKMS\1\2" + uuid.UUID(KEY).bytes + b"\1\2\3\4" + b"i" * 12 + b"s" * 64 + b"t" * 16


@pytest.mark.parametrize(("at", "value"), [(0, b"h"), (4, b"\0"), (4, b"\2"), (5, b"\0"), (5, b"\3")])
def test_another_magic_version_or_algorithm_is_no_ciphertext(at: int, value: bytes) -> None:
    raw = Ciphertext(ciphertexts.head_of(OWNER), bytes(12), bytes(80)).packed()
    with pytest.raises(CiphertextInvalid):
        ciphertexts.parse(raw[:at] + value + raw[at + 1 :])


@pytest.mark.parametrize("sealed", [0, 79, 4098 + 16 + 1, 10_000])
def test_what_is_shorter_or_longer_than_any_ciphertext_is_none(sealed: int) -> None:
    with pytest.raises(CiphertextInvalid):
        ciphertexts.parse(Ciphertext(ciphertexts.head_of(OWNER), bytes(12), bytes(sealed)).packed())


@pytest.mark.parametrize("size", [1, 2, 61, 62, 63, 64, 1024, 4095, 4096])
def test_every_ciphertext_has_the_size_that_huawei_documents(size: int) -> None:
    sealed = ciphertexts.padded(Plaintext(bytes(size))) + bytes(ciphertexts.TAG_BYTES)
    raw = Ciphertext(ciphertexts.head_of(OWNER), bytes(12), sealed).packed()
    assert ciphertexts.parse(raw).sealed == sealed
    assert 96 <= len(raw) <= 4236
    assert 128 <= len(base64.b64encode(raw)) <= 5648


def test_the_longest_ciphertext_is_that_of_the_longest_plaintext() -> None:
    sealed = ciphertexts.padded(Plaintext(bytes(ciphertexts.MOST_PLAINTEXT_BYTES))) + bytes(ciphertexts.TAG_BYTES)
    raw = Ciphertext(ciphertexts.head_of(OWNER), bytes(12), sealed).packed()
    assert len(raw) == ciphertexts.MOST_CIPHERTEXT_BYTES


def test_a_restored_backup_that_forgot_every_use_once_stays_within_the_bound_of_gcm() -> None:
    assert 2 * ciphertexts.MOST_USES == 2**32


def test_a_ciphertext_names_its_key_and_generation_and_shows_no_more() -> None:
    head = ciphertexts.head_of(OWNER)
    assert (head.algorithm, head.key_id, head.generation) == (CipherAlgorithm.AES_256_GCM, KEY, 1)
    assert "salt" not in repr(Ciphertext(head, bytes(12), b"salt" * 20))


@pytest.mark.parametrize("edition", Edition)
def test_an_edition_has_one_algorithm(edition: Edition) -> None:
    assert ciphertexts.head_of(records.of_material(AccountName("a"), KEY, edition, 1)).algorithm is OF_EDITION[edition]


# --- padding ---------------------------------------------------------------------------------------------


@given(PLAINTEXTS)
@example(b"")
@example(b"\0" * 62)
def test_a_plaintext_is_padded_and_comes_back(value: bytes) -> None:
    padded = ciphertexts.padded(Plaintext(value))
    assert len(padded) == max(64, len(value) + 2)
    assert ciphertexts.unpadded(padded) == Plaintext(value)


@given(st.binary(max_size=70))
def test_only_what_was_padded_is_unpadded(value: bytes) -> None:
    try:
        plaintext = ciphertexts.unpadded(value)
    except CiphertextInvalid:
        return
    assert ciphertexts.padded(plaintext) == value


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(bytes(63), id="too short"),
        pytest.param(bytes(65), id="more zeros than needed"),
        pytest.param(b"\0\1ab".ljust(64, b"\0"), id="no zeros behind"),
        pytest.param(b"\0\x3f".ljust(64, b"a"), id="a length beyond the end"),
        pytest.param(b"\xff\xff".ljust(64, b"a"), id="a length far beyond the end"),
    ],
)
def test_other_paddings_are_refused(value: bytes) -> None:
    with pytest.raises(CiphertextInvalid):
        ciphertexts.unpadded(value)


# --- what is authenticated -------------------------------------------------------------------------------


@given(PAIRS, PAIRS)
@example({"a": "bc"}, {"ab": "c"})
@example({}, {"": ""})
def test_two_contexts_are_equal_if_their_pairs_are(left: dict[str, str], right: dict[str, str]) -> None:
    same = ciphertexts.context_of_pairs(left) == ciphertexts.context_of_pairs(right)
    assert same == (left == right)


@given(PAIRS)
def test_the_order_of_pairs_does_not_matter(pairs: dict[str, str]) -> None:
    backwards = dict(reversed(pairs.items()))
    assert ciphertexts.context_of_pairs(backwards) == ciphertexts.context_of_pairs(pairs)


@given(TEXTS, TEXTS)
def test_two_texts_are_equal_if_their_contexts_are(left: str, right: str) -> None:
    assert (ciphertexts.context_of_text(left) == ciphertexts.context_of_text(right)) == (left == right)


@given(PAIRS, TEXTS)
@example({"": ""}, "")
def test_contexts_of_different_kinds_are_never_equal_but_where_there_is_none(pairs: dict[str, str], text: str) -> None:
    same = ciphertexts.context_of_pairs(pairs) == ciphertexts.context_of_text(text)
    assert same == (not pairs and not text)


@given(
    st.builds(
        RecordIdentity,
        kind=st.just(OWNER.kind),
        account=TEXTS,
        owner=st.sampled_from((KEY, str(uuid.UUID(int=1)))),
        edition=st.sampled_from(Edition),
        generation=st.integers(0, 2),
    ),
    st.binary(max_size=4),
    st.binary(max_size=4),
)
def test_owner_and_context_are_authenticated_whole(owner: RecordIdentity, context: bytes, other: bytes) -> None:
    def authenticated(identity: RecordIdentity, with_context: bytes) -> bytes:
        return ciphertexts.authenticated(identity, ciphertexts.head_of(OWNER), with_context)

    same = authenticated(owner, context) == authenticated(OWNER, other)
    assert same == ((owner, context) == (OWNER, other))


@given(HEADS)
def test_the_head_is_authenticated_whole(head: Head) -> None:
    plain = ciphertexts.authenticated(OWNER, ciphertexts.head_of(OWNER), b"")
    assert (ciphertexts.authenticated(OWNER, head, b"") == plain) == (head == ciphertexts.head_of(OWNER))
    assert head.packed() in ciphertexts.authenticated(OWNER, head, b"")
