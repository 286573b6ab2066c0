"""A flood of invented credentials, and those who are known."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

import pytest

from hsmkms.core.credentials import Grant, Role
from hsmkms.core.errors import ServiceOverloaded
from hsmkms.core.ids import AccessId, AccountName
from hsmkms.core.secrets import AuthToken
from hsmkms.service import lookups
from hsmkms.service.credentials import ROW_TRUSTED_SECONDS
from hsmkms.service.lookups import LookUps

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hsmkms.core.ports import Reading
    from tests.service.house import House

Result = TypeVar("Result")

CROWD: Final = 200
HERE: Final = "192.0.2.1"
ELSEWHERE: Final = "198.51.100.1"
GRANT: Final = Grant(AccountName("acme"), frozenset({Role.USER}))


class SlowDatabase:
    """Holds back every read of credentials until the test lets go, and counts how many there are at a time."""

    def __init__(self, house: House) -> None:
        self.at_once = 0
        self.most = 0
        self.gate = asyncio.Event()
        self._read = house.store.read
        house.store.read = self._slowly

    async def _slowly(self, question: Callable[[Reading], Result]) -> Result:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await self.gate.wait()
            return await self._read(question)
        finally:
            self.at_once -= 1


async def flooded(ask: Callable[[int], Awaitable[object]], slow: SlowDatabase) -> None:
    """Ask for a crowd of strangers while the database is slow: it gets few questions, and few wait to put theirs."""
    crowd = [asyncio.ensure_future(ask(number)) for number in range(CROWD)]
    await settled()
    refused = [each.exception() for each in crowd if each.done()]
    assert len(refused) == CROWD - lookups.MOST_AT_ONCE - lookups.MOST_WAITING
    assert all(isinstance(each, ServiceOverloaded) for each in refused)
    slow.gate.set()
    await asyncio.wait(crowd)
    assert [each.result() for each in crowd if each.exception() is None] == [None] * (CROWD - len(refused))
    assert slow.most == lookups.MOST_AT_ONCE


async def test_few_unknown_access_ids_are_looked_up_at_a_time_and_most_of_a_flood_is_refused(house: House) -> None:
    slow = SlowDatabase(house)
    await flooded(lambda number: house.credentials.open(AccessId(f"AKID{number}")), slow)


async def test_few_unknown_auth_tokens_are_looked_up_at_a_time_and_most_of_a_flood_is_refused(house: House) -> None:
    length = len((await house.auth_tokens.create(GRANT)).token.reveal())
    slow = SlowDatabase(house)
    await flooded(lambda number: house.auth_tokens.holder_of(AuthToken(str(number).zfill(length).encode())), slow)


async def test_who_is_known_passes_the_crowd() -> None:
    line: LookUps[str, None] = LookUps()
    line.found("known", good=True)
    let_go = asyncio.Event()

    async def ask(name: str) -> None:
        async with line.of(name, HERE):
            await let_go.wait()

    crowd = [asyncio.create_task(ask(f"s{number}")) for number in range(lookups.MOST_WAITING + 2)]
    await asyncio.sleep(0)
    with pytest.raises(ServiceOverloaded):
        async with line.of("one more", HERE):
            pass
    async with line.of("known", HERE):
        pass
    line.found("known", good=False)
    with pytest.raises(ServiceOverloaded):
        async with line.of("known", HERE):
            pass
    let_go.set()
    await asyncio.gather(*crowd)


def test_no_more_are_known_than_may_be() -> None:
    line: LookUps[int, None] = LookUps()
    for name in range(lookups.MOST_KNOWN + 5):
        line.found(name, good=True)
    assert len(line._known) == lookups.MOST_KNOWN
    assert lookups.MOST_KNOWN + 4 in line._known


async def test_a_known_credential_is_checked_again_while_a_flood_waits(house: House) -> None:
    known = (await house.credentials.create(GRANT)).access_id
    assert await house.credentials.open(known) is not None
    house.clock.advance(seconds=ROW_TRUSTED_SECONDS + 1)
    slow = SlowDatabase(house)
    crowd = [asyncio.create_task(house.credentials.open(AccessId(f"AKID{each}"))) for each in range(60)]
    await settled()
    again = asyncio.create_task(house.credentials.open(known))
    await settled()
    assert slow.at_once == lookups.MOST_AT_ONCE + 1, "the known one is at the database, before all who wait"
    slow.gate.set()
    assert await again is not None
    await asyncio.gather(*crowd)


async def test_a_known_auth_token_is_looked_up_while_a_flood_waits(house: House) -> None:
    token = (await house.auth_tokens.create(GRANT)).token
    assert await house.auth_tokens.holder_of(token) is not None
    slow = SlowDatabase(house)
    invented = [AuthToken(str(each).zfill(len(token.reveal())).encode()) for each in range(60)]
    crowd = [asyncio.create_task(house.auth_tokens.holder_of(each)) for each in invented]
    await settled()
    again = asyncio.create_task(house.auth_tokens.holder_of(token))
    await settled()
    assert slow.at_once == lookups.MOST_AT_ONCE + 1
    slow.gate.set()
    assert await again is not None
    await asyncio.gather(*crowd)


async def test_a_flood_from_one_source_delays_an_unknown_credential_of_another_by_one_turn(house: House) -> None:
    good = (await house.credentials.create(GRANT)).access_id
    token = (await house.auth_tokens.create(GRANT)).token
    await behind_a_flood(
        house,
        lambda number: house.credentials.open(AccessId(f"AKID{number}"), HERE),
        lambda: house.credentials.open(good, ELSEWHERE),
    )
    length = len(token.reveal())
    await behind_a_flood(
        house,
        lambda number: house.auth_tokens.holder_of(AuthToken(str(number).zfill(length).encode()), HERE),
        lambda: house.auth_tokens.holder_of(token, ELSEWHERE),
    )


async def behind_a_flood(
    house: House, invented: Callable[[int], Awaitable[object]], ask: Callable[[], Awaitable[object]]
) -> None:
    """Ask after a crowd from elsewhere has filled its line: most of it is still looked up after the answer."""
    crowd = [asyncio.ensure_future(invented(number)) for number in range(CROWD)]
    slow = SlowDatabase(house)
    await settled()
    refused = sum(each.done() for each in crowd)
    assert refused == CROWD - lookups.MOST_AT_ONCE - lookups.MOST_WAITING
    asked = asyncio.ensure_future(ask())
    await settled()
    slow.gate.set()
    assert await asked is not None
    answered = sum(each.done() for each in crowd) - refused
    await asyncio.wait(crowd)
    assert answered < lookups.MOST_WAITING // 2


async def test_a_claim_of_the_same_access_id_in_the_full_line_of_another_source_stops_nobody(house: House) -> None:
    good = (await house.credentials.create(GRANT)).access_id
    slow = SlowDatabase(house)
    crowd = [asyncio.create_task(house.credentials.open(AccessId(f"AKID{each}"), HERE)) for each in range(60)]
    crowd.append(asyncio.create_task(house.credentials.open(good, HERE)))
    await settled()
    asked = asyncio.create_task(house.credentials.open(good, ELSEWHERE))
    await settled()
    slow.gate.set()
    assert await asked is not None
    assert not crowd[-1].done(), "it waits in its own line"
    await asyncio.gather(*crowd)


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        (HERE, f"::ffff:{HERE}", True),
    ],
)
async def test_the_addresses_of_one_network_wait_in_one_line(one: str, other: str, *, together: bool) -> None:
    line: LookUps[str, None] = LookUps()
    let_go = asyncio.Event()

    async def ask(name: str, source: str) -> None:
        async with line.of(name, source):
            await let_go.wait()

    crowd = [asyncio.create_task(ask(f"s{number}", one)) for number in range(lookups.MOST_WAITING + 2)]
    await settled()
    more = asyncio.create_task(ask("one more", other))
    await settled()
    assert more.done() == together
    let_go.set()
    await asyncio.wait([*crowd, more])
    assert isinstance(more.exception(), ServiceOverloaded) == together


async def test_an_auth_token_is_looked_up_once_for_all_who_show_it_at_the_same_time(house: House) -> None:
    token = (await house.auth_tokens.create(GRANT)).token
    assert await house.auth_tokens.holder_of(token, HERE) is not None
    slow = SlowDatabase(house)
    crowd = [asyncio.create_task(house.auth_tokens.holder_of(token, HERE)) for _ in range(CROWD)]
    crowd.append(asyncio.create_task(house.auth_tokens.holder_of(token, ELSEWHERE)))
    await settled()
    assert slow.at_once == 1
    slow.gate.set()
    assert None not in await asyncio.gather(*crowd)
    slow.gate.clear()
    again = asyncio.create_task(house.auth_tokens.holder_of(token, HERE))
    await settled()
    assert slow.at_once == 1, "what was found is not kept"
    slow.gate.set()
    await again


async def settled() -> None:
    """Let everybody who can go on do so."""
    for _ in range(6):
        await asyncio.sleep(0)
