"""Laws of hsmkms/core/material.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsmkms.core.material import Edition, Fingerprint, SealedMaterial

LENGTHS = {Edition.FIPS: (256, 32, 40), Edition.SM: (128, 16, 24)}
FINGERPRINTS = st.builds(Fingerprint, st.sampled_from(["one", "two"]), st.binary(max_size=3))


def test_every_edition_has_its_row() -> None:
    assert set(LENGTHS) == set(Edition)


@pytest.mark.parametrize("edition", Edition)
def test_an_edition_takes_one_length_and_its_blob_is_eight_bytes_longer(edition: Edition) -> None:
    assert (edition.material_bits, edition.material_bytes, edition.sealed_bytes) == LENGTHS[edition]


@given(FINGERPRINTS, FINGERPRINTS)
def test_fingerprints_match_only_if_algorithm_and_digest_are_equal(left: Fingerprint, right: Fingerprint) -> None:
    assert left.matches(right) is (left.algorithm == right.algorithm and left.digest == right.digest)


def test_neither_a_digest_nor_a_record_is_printed() -> None:
    sealed = SealedMaterial(b"the record", Fingerprint("one", b"the digest"))
    assert "the " not in repr(sealed)
