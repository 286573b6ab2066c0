"""Races of two nodes: one winner, nothing mixed, and every answer one that some order of one after the other explains.

The normal run takes a hundred rounds of those that are most dangerous, and fewer of the others; all of them a thousand:
`./scripts/test tests/e2e/test_nodes_racing.py -m torture`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.node_races import DONE, Races
from tests.e2e.nodes import KEYS_PER_ACCOUNT

if TYPE_CHECKING:
    from tests.e2e.node_races import Account
    from tests.e2e.nodes import Nodes

SPENT: Final = "ResourceUnavailable.TokenExpired"
MISMATCH: Final = "InvalidParameterValue.MaterialNotMatch"
FORBIDDEN: Final = "ResourceUnavailable.CmkStateNotSupport"
TAKEN: Final = "InvalidParameterValue.AliasAlreadyExists"
TOO_MANY: Final = "LimitExceeded.CmkLimitExceeded"
SWEEP_SECONDS: Final = 5.0
"""Each node sweeps as often."""
ENDINGS: Final = 100
ENDING_SECONDS: Final = 4
SEEDED: Final = 960
SEED: Final = """
    INSERT INTO keys (key_id, alias, account, description, usage, origin, created_at, switched_on, archived,
                      generation, revision)
    SELECT gen_random_uuid()::text, alias || '-' || number, account, description, usage, origin, created_at,
           switched_on, archived, generation, revision
    FROM keys, generate_series(2, %s) AS number WHERE key_id = %s RETURNING key_id
"""


def rounds_of(normal: int) -> pytest.MarkDecorator:
    torture = pytest.param(1000, marks=[pytest.mark.torture, pytest.mark.timeout(3600)])
    return pytest.mark.parametrize("rounds", [normal, torture])


@pytest.fixture(scope="module")
def races(nodes: Nodes) -> Races:
    return Races(nodes)


def material() -> bytes:
    return secrets.token_bytes(32)


@rounds_of(100)
def test_one_import_token_for_two_materials(races: Races, rounds: int) -> None:
    async def race(account: Account, _number: int) -> None:
        key_id = await account.key()
        issued = await account.parameters(0, key_id)
        told = await account.imports(*(account.wrapped(issued, key_id, material()) for _ in range(2)))
        assert told.count(DONE) == 1
        assert set(told) <= {DONE, SPENT, MISMATCH}

    races.run(rounds, race)
    assert races.mixed() == {}


@rounds_of(10)
def test_the_same_request_on_both_nodes(races: Races, rounds: int) -> None:
    async def race(account: Account, _number: int) -> None:
        key_id = await account.key()
        fields = await account.importing(key_id, material())
        assert await account.imports(fields, fields) == [DONE, DONE]

    races.run(rounds, race)
    assert races.mixed() == {}


@rounds_of(10)
def test_two_import_tokens_for_one_material(races: Races, rounds: int) -> None:
    async def race(account: Account, _number: int) -> None:
        key_id, same = await account.key(), material()
        both = [await account.importing(key_id, same) for _ in range(2)]
        assert await account.imports(*both) == [DONE, DONE]

    races.run(rounds, race)
    assert races.mixed() == {}


@rounds_of(10)
def test_two_import_tokens_for_two_materials(races: Races, rounds: int) -> None:
    async def race(account: Account, _number: int) -> None:
        key_id = await account.key()
        both = [await account.importing(key_id, material()) for _ in range(2)]
        assert sorted(await account.imports(*both)) == sorted([DONE, MISMATCH])

    races.run(rounds, race)
    assert races.mixed() == {}


@rounds_of(100)
def test_an_import_and_a_deletion_of_material(races: Races, rounds: int) -> None:
    told: dict[str, tuple[bool, str, str]] = {}

    async def race(account: Account, number: int) -> None:
        key_id, same, held = await account.key(), material(), bool(number % 2)
        if held:
            await account.bring(key_id, same)
        fields = await account.importing(key_id, same)
        imported, deleted = await asyncio.gather(
            account.tencent(0, "ImportKeyMaterial", **fields),
            account.tencent(1, "DeleteImportedKeyMaterial", KeyId=key_id),
        )
        told[key_id] = held, imported.code, deleted.code

    races.run(rounds, race)
    assert races.mixed() == {}
    holding = races.holding()
    for key_id, (held, imported, deleted) in told.items():
        if held:  # in either order both are done, and what came last holds
            assert (imported, deleted) == (DONE, DONE)
        else:  # what deletes first finds nothing to delete
            assert (imported, deleted, key_id in holding) in {(DONE, DONE, False), (DONE, FORBIDDEN, True)}


@pytest.mark.parametrize("times", [1, pytest.param(10, marks=[pytest.mark.torture, pytest.mark.timeout(3600)])])
def test_a_hundred_imports_and_the_end_of_what_was_there(races: Races, times: int) -> None:
    """All of them end in one second, and come again until each node has swept: in either order they hold it then."""
    ready = asyncio.Barrier(ENDINGS)

    async def race(account: Account, number: int) -> None:
        key_id, same = await account.key(), material()
        first, again = [await account.parameters(node, key_id) for node in range(2)]
        async with ready:
            expiry = int(time.time()) + ENDING_SECONDS
        fields = account.wrapped(first, key_id, same, expiry)
        assert (await account.tencent(number % 2, "ImportKeyMaterial", **fields)).code == DONE
        fields = account.wrapped(again, key_id, same)
        await asyncio.sleep(expiry + SWEEP_SECONDS * (number % ENDINGS) / ENDINGS - time.time())
        assert (await account.tencent(number % 2, "ImportKeyMaterial", **fields)).code == DONE

    rounds = times * ENDINGS
    races.run(rounds, race, of_an_account=ENDINGS, at_a_time=ENDINGS)
    assert races.mixed() == {}
    assert len(races.holding()) == rounds
    ended = races.nodes.ask(
        "SELECT actor = 'sweeper', count(*) FROM events "
        "WHERE tag = 'key:material:expired' AND account = ANY(%s) GROUP BY 1 ORDER BY 1",
        races.accounts,
    )
    assert sum(number for _, number in ended) == rounds
    assert len(ended) == 2, "some were ended by a sweep, and some by who came again"


@rounds_of(20)
def test_an_import_and_a_scheduled_deletion(races: Races, rounds: int) -> None:
    async def race(account: Account, _number: int) -> None:
        key_id = await account.key()
        fields = await account.importing(key_id, material())
        imported, scheduled = await asyncio.gather(
            account.tencent(0, "ImportKeyMaterial", **fields), account.schedule_deletion(1, key_id)
        )
        assert scheduled.code == DONE
        assert imported.code in {DONE, SPENT, FORBIDDEN}
        state = await account.tencent(0, "DescribeKey", KeyId=key_id)
        assert state.content["KeyMetadata"]["KeyState"] == "PendingDelete"

    races.run(rounds, race)
    assert races.mixed() == {}


@rounds_of(10)
def test_import_parameters_from_both(races: Races, rounds: int) -> None:
    async def race(account: Account, _number: int) -> None:
        key_id = await account.key()
        issued = [
            each
            for _ in range(3)
            for each in await asyncio.gather(*(account.parameters(node, key_id) for node in range(2)))
        ]
        assert {each.code for each in issued} == {DONE}
        assert len({each.content["ImportToken"] for each in issued}) == len(issued)

    races.run(rounds, race)
    assert races.mixed() == {}
    live = races.nodes.ask(
        "SELECT count(*) FROM tickets WHERE account = ANY(%s) AND state = 'issued' GROUP BY key_id", races.accounts
    )
    assert live == [(3,)] * rounds


@rounds_of(30)
def test_one_alias_for_two_keys(races: Races, rounds: int) -> None:
    async def race(account: Account, _number: int) -> None:
        alias = f"race-{secrets.token_hex(8)}"
        made = [account.tencent(node, "CreateKey", Alias=alias, Type=2) for node in range(2)]
        assert sorted(each.code for each in await asyncio.gather(*made)) == sorted([DONE, TAKEN])

    races.run(rounds, race)
    assert races.mixed() == {}


@pytest.mark.parametrize("accounts", [1, pytest.param(20, marks=[pytest.mark.torture, pytest.mark.timeout(3600)])])
def test_as_many_keys_as_an_account_may_have(races: Races, accounts: int) -> None:
    """The last rooms of an account are wanted by twice as many as there are."""
    told: Counter[str] = Counter()
    room = KEYS_PER_ACCOUNT - SEEDED

    async def race(account: Account, number: int) -> None:
        if number == 0:
            assert len(races.nodes.ask(SEED, SEEDED, await account.key())) == SEEDED - 1
            seeded.set()
        await seeded.wait()
        made = [account.tencent(node, "CreateKey", Alias=f"race-{secrets.token_hex(8)}", Type=2) for node in range(2)]
        told.update(each.code for each in await asyncio.gather(*made))

    for _ in range(accounts):
        seeded = asyncio.Event()
        races.run(room, race)
        counted = races.nodes.ask("SELECT count(*) FROM keys WHERE account = ANY(%s)", races.accounts)
        assert counted == [(KEYS_PER_ACCOUNT,)]
    assert told == {DONE: accounts * room, TOO_MANY: accounts * room}
