"""What the service says of itself when it is looked at."""

from __future__ import annotations

import asyncio

from hsmkms.core.ids import AccountName
from hsmkms.core.metering import Line
from hsmkms.service.admission import Admission, Lane, Places
from hsmkms.service.commands import MakeRandom


async def test_places_tell_who_holds_one_and_who_waits() -> None:
    places = Places(2)
    go_on = asyncio.Event()

    async def hold(whose: str) -> None:
        async with places.held(whose):
            await go_on.wait()

    assert places.line == Line(0, 0)
    holding = [asyncio.create_task(hold(each)) for each in ("a", "a", "a", "a", "b")]
    await asyncio.sleep(0)
    assert places.line == Line(2, 3)
    go_on.set()
    await asyncio.gather(*holding)
    assert places.line == Line(0, 0)


async def test_each_lane_is_looked_at_for_itself() -> None:
    admission = Admission()
    async with admission.place(AccountName("acme"), MakeRandom(8)):
        assert admission.lines == {Lane.TOKEN: Line(1, 0), Lane.PAIRS: Line(0, 0), Lane.STORE: Line(0, 0)}
    assert admission.lines[Lane.TOKEN] == Line(0, 0)
