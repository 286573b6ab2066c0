from __future__ import annotations

from typing import Any, cast

from hsmkms.hsm.host.pairs import WrappingPair
from tests.hsm.test_kept import Handle


def test_the_size_of_a_pair_is_that_of_its_modulus() -> None:
    assert [WrappingPair(cast("Any", Handle()), modulus).size for modulus in (1 << 2047, 1 << 3071)] == [256, 384]


def test_a_pair_is_destroyed_with_its_private_half() -> None:
    private = Handle()
    WrappingPair(cast("Any", private), 1 << 2047).destroy()
    assert private.destroyed
