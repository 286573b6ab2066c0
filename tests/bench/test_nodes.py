"""What two nodes do together, where the token is as far away as a network HSM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from scripts.benchmark.nodes import ratio, standing

if TYPE_CHECKING:
    from pathlib import Path

LEAST: Final = 1.7


@pytest.mark.torture
@pytest.mark.timeout(600)
async def test_a_second_node_adds_nearly_what_the_first_does(tmp_path: Path) -> None:
    async with standing(tmp_path, sessions_per_host=1, seconds=5.0) as stand:
        assert await ratio(stand) >= LEAST
