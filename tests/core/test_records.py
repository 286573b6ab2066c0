"""Laws of hsmkms/core/records.py: two identities never have the same canonical form."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hsmkms.core import records
from hsmkms.core.ids import AccessId, AccountName, KeyId, PairId
from hsmkms.core.material import Edition
from hsmkms.core.records import RecordIdentity, RecordKind

# A small alphabet with the bytes of a length prefix in it: collisions would be found at once.
PART = st.text(alphabet="\0\1\2ab-", max_size=6)
IDENTITIES = st.builds(
    RecordIdentity,
    kind=st.sampled_from(RecordKind),
    account=PART,
    owner=PART,
    edition=st.sampled_from(Edition),
    generation=st.integers(0, 3) | st.integers(0, 2**64 - 1),
)


def _parts(canonical: bytes) -> list[bytes]:
    parts = []
    while canonical:
        size = int.from_bytes(canonical[:4], "big")
        parts.append(canonical[4 : 4 + size])
        assert len(parts[-1]) == size
        canonical = canonical[4 + size :]
    return parts


@given(IDENTITIES)
def test_the_canonical_form_can_be_read_back_so_no_two_identities_share_one(identity: RecordIdentity) -> None:
    domain, kind, account, owner, edition, generation = _parts(identity.canonical())
    assert domain == b"hsmkms record v1"
    read = RecordIdentity(
        RecordKind(kind.decode()),
        account.decode(),
        owner.decode(),
        Edition(edition.decode()),
        int.from_bytes(generation, "big"),
    )
    assert read == identity


@given(IDENTITIES, IDENTITIES)
@example(
    RecordIdentity(RecordKind.MATERIAL, "a", "bc", Edition.FIPS, 1),
    RecordIdentity(RecordKind.MATERIAL, "ab", "c", Edition.FIPS, 1),
)
def test_different_identities_have_different_canonical_forms(left: RecordIdentity, right: RecordIdentity) -> None:
    assert (left.canonical() == right.canonical()) is (left == right)


def test_each_kind_of_record_has_an_identity_of_its_own_even_for_the_same_names() -> None:
    same = "6d8b6a3e-0000-4000-8000-000000000001"
    forms = {
        records.of_material(AccountName("a"), KeyId(same), Edition.FIPS, 0).canonical(),
        records.of_material(AccountName("a"), KeyId(same), Edition.FIPS, 1).canonical(),
        records.of_material(AccountName("a"), KeyId(same), Edition.SM, 0).canonical(),
        records.of_material(AccountName("b"), KeyId(same), Edition.FIPS, 0).canonical(),
        records.of_pair(PairId(same), Edition.FIPS).canonical(),
        records.of_credential(AccountName("a"), AccessId(same), Edition.FIPS).canonical(),
    }
    assert len(forms) == 6


@pytest.mark.parametrize("generation", [-1, 2**64])
def test_a_generation_out_of_range_is_refused_rather_than_cut_off(generation: int) -> None:
    with pytest.raises(OverflowError):
        RecordIdentity(RecordKind.MATERIAL, "a", "b", Edition.FIPS, generation).canonical()


VERSIONS = st.integers(1, records.MOST_VERSION)


@given(VERSIONS, st.binary(max_size=8))
@example(1, b"\2\0\0\0\2")
@example(2, b"")
@example(records.MOST_VERSION, b"\1")
def test_a_head_says_its_version_whatever_is_behind_it(version: int, behind: bytes) -> None:
    head = records.head_of(version)
    assert records.split_head(head + behind) == (version, head)


def test_what_was_sealed_before_there_were_versions_is_of_the_first_one() -> None:
    assert records.head_of(1) == b"\1"


@given(VERSIONS, VERSIONS)
def test_no_head_is_the_beginning_of_another_version_s(one: int, other: int) -> None:
    assert records.head_of(one).startswith(records.head_of(other)) == (one == other)


@given(st.binary(max_size=6))
@example(b"")
@example(b"\2")
@example(b"\2\0\0\0")
@example(b"\2\0\0\0\0")
@example(b"\2\0\0\0\1")
@example(b"\2\x80\0\0\0")
@example(b"\3\0\0\0\2")
def test_whatever_begins_otherwise_is_no_record(record: bytes) -> None:
    try:
        version, head = records.split_head(record)
    except ValueError:
        assert not record.startswith(b"\1")
        tail = record[1:5]
        of_a_version = record.startswith(b"\2") and len(tail) == 4
        assert not (of_a_version and 1 < int.from_bytes(tail, "big") <= records.MOST_VERSION)
    else:
        assert record.startswith(head)
        assert head == records.head_of(version)
        assert 1 <= version <= records.MOST_VERSION
