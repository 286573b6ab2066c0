"""Which wrapping algorithms are offered: one answer for those who get parameters and those who import.

Law: an algorithm is offered while the configuration allows it and the token was seen to do it; when either ends, the
import tokens that were issued for it are of no use any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsmkms.core.errors import NotOffered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsmkms.core.ports import Hsm
    from hsmkms.core.wrapping import WrappingAlgorithm


class Offer:
    """What this deployment offers."""

    def __init__(self, hsm: Hsm, allowed: Sequence[WrappingAlgorithm]) -> None:
        """Offer what is `allowed` by the configuration, in its order, as far as `hsm` does it."""
        self._hsm = hsm
        self._allowed = allowed

    @property
    def algorithms(self) -> tuple[WrappingAlgorithm, ...]:
        """What is offered now, in the order in which it is named to clients."""
        return tuple(each for each in self._allowed if each in self._hsm.algorithms)

    def require(self, algorithm: WrappingAlgorithm, field: str) -> None:
        """Return if `algorithm` is offered.

        Raises:
            NotOffered: it is not; the message names `field` and what is offered.
        """
        if algorithm not in self.algorithms:
            raise NotOffered(field, self.algorithms)
