"""Laws of hsmkms/core/wrapping.py: the table is total and derived from its rows."""

from __future__ import annotations

import hashlib

import pytest

from hsmkms.core.wrapping import (
    WRAPPING,
    WRAPPING_KEY_BITS,
    WRAPPING_KEY_BYTES,
    WRAPPING_KEY_SPEC,
    WrappingAlgorithm,
)


def test_the_table_has_exactly_one_row_for_every_algorithm() -> None:
    assert set(WRAPPING) == set(WrappingAlgorithm)
    assert all(row.algorithm is algorithm for algorithm, row in WRAPPING.items())


@pytest.mark.parametrize("algorithm", WrappingAlgorithm)
def test_the_hash_is_the_one_in_the_name(algorithm: WrappingAlgorithm) -> None:
    row = WRAPPING[algorithm]
    assert (row.oaep_hash is None) is ("OAEP" not in algorithm.value)
    if row.oaep_hash is not None:
        assert hashlib.new(row.oaep_hash, usedforsecurity=False).name == row.oaep_hash
        assert algorithm.value.replace("_", "").endswith(row.oaep_hash.upper())


@pytest.mark.parametrize("algorithm", WrappingAlgorithm)
def test_only_an_algorithm_without_a_padding_oracle_shares_pairs_tells_refusals_apart_or_is_on_by_default(
    algorithm: WrappingAlgorithm,
) -> None:
    row = WRAPPING[algorithm]
    safe = algorithm is not WrappingAlgorithm.RSAES_PKCS1_V1_5
    assert (row.shares_pairs, row.merges_refusals, row.on_by_default) == (safe, not safe, safe)


def test_the_sizes_are_those_of_rsa_2048() -> None:
    assert (WRAPPING_KEY_SPEC, WRAPPING_KEY_BITS, WRAPPING_KEY_BYTES) == ("RSA_2048", 2048, 256)
