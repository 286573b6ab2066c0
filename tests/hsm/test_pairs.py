from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from hsmkms.core.ids import PairId
from hsmkms.core.material import Edition
from hsmkms.core.records import of_pair
from hsmkms.hsm.host.pairs import PairCache, WrappingPair


@dataclass
class Handle:
    """Stands for an object of the token, of which the cache only needs that it can be destroyed."""

    destroyed: bool = False

    def destroy(self) -> None:
        assert not self.destroyed
        self.destroyed = True


IDENTITY = of_pair(PairId("one"), Edition.FIPS)


def kept(cache: PairCache, record: bytes) -> Handle:
    handle = Handle()
    cache.keep(IDENTITY, record, WrappingPair(cast("Any", handle), 1 << 2047))
    return handle


def test_what_was_not_used_longest_makes_room_and_is_destroyed() -> None:
    cache = PairCache(2)
    first, second = kept(cache, b"1"), kept(cache, b"2")
    assert cache.get(IDENTITY, b"1") is not None
    third = kept(cache, b"3")
    assert (first.destroyed, second.destroyed, third.destroyed) == (False, True, False)
    assert cache.get(IDENTITY, b"2") is None
    assert len(cache) == 2


def test_a_pair_is_found_by_identity_and_record_together() -> None:
    cache = PairCache()
    kept(cache, b"1")
    assert cache.get(IDENTITY, b"1") is not None
    assert cache.get(IDENTITY, b"2") is None
    assert cache.get(of_pair(PairId("two"), Edition.FIPS), b"1") is None


def test_the_size_of_a_pair_is_that_of_its_modulus() -> None:
    assert [WrappingPair(cast("Any", Handle()), modulus).size for modulus in (1 << 2047, 1 << 3071)] == [256, 384]
