"""Every check is made before every later one: requests that break two rules at once get the earlier error."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.core.errors import (
    CiphertextSizeWrong,
    ExpiryInvalid,
    HsmkmsError,
    ImportTokenForeign,
    ImportTokenOver,
    ImportTokenUnknown,
    KeyNotExternal,
    KeyNotFound,
    KeyStateForbids,
    MaterialLengthWrong,
    MaterialMismatch,
    MaterialUndecryptable,
    NotOffered,
    TicketEnd,
)
from hsmkms.core.keys import Origin
from hsmkms.core.secrets import ImportToken, Plaintext
from hsmkms.core.wrapping import WrappingAlgorithm
from hsmkms.service.commands import (
    ArchiveKey,
    CancelDeletion,
    DeleteMaterial,
    DescribeKey,
    EnableRotation,
    Encrypt,
    GetImportParameters,
    ImportMaterial,
    MakeDataKey,
    ScheduleDeletion,
    SwitchKey,
    SwitchKeys,
)
from tests.service.counted_hsm import UNDECRYPTABLE, wrapped
from tests.service.house import DAY, OTHER_MATERIAL, Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hsmkms.service.commands import ImportParameters
    from tests.service.house import House

# Each rule that a request can break, in the order of the checks; rules of one rank exclude each other.
RANKS: Final[tuple[tuple[str, ...], ...]] = (
    ("expiry",),
    ("account",),
    ("external",),
    ("state",),
    ("unknown", "foreign"),
    ("expired", "exhausted", "void", "spent"),
    ("size",),
    ("unwrap",),
    ("length",),
    ("fingerprint",),
)
REFUSALS: Final[dict[str, type[HsmkmsError] | TicketEnd]] = {
    "expiry": ExpiryInvalid,
    "account": KeyNotFound,
    "external": KeyNotExternal,
    "state": KeyStateForbids,
    "unknown": ImportTokenUnknown,
    "foreign": ImportTokenForeign,
    "expired": TicketEnd.EXPIRED,
    "exhausted": TicketEnd.EXHAUSTED,
    "void": TicketEnd.VOID,
    "spent": TicketEnd.SPENT,
    "size": CiphertextSizeWrong,
    "unwrap": MaterialUndecryptable,
    "length": MaterialLengthWrong,
    "fingerprint": MaterialMismatch,
}
JUDGED_BY_THE_TOKEN: Final = {"unwrap", "length", "fingerprint"}
# A token that nobody issued has no history, and what does not unwrap has no length and no fingerprint.
IMPOSSIBLE: Final = {("unknown", over) for over in RANKS[5]} | {("unwrap", "length"), ("unwrap", "fingerprint")}

PAIRS: Final = [
    (first, second)
    for earlier, later_ones in combinations(RANKS, 2)
    for first in earlier
    for second in later_ones
    if (first, second) not in IMPOSSIBLE
]


def test_every_rule_has_its_refusal_and_is_tried() -> None:
    assert set(REFUSALS) == {rule for rank in RANKS for rule in rank}
    assert {rule for pair in PAIRS for rule in pair} == set(REFUSALS)


async def _end(house: House, parameters: ImportParameters, broken: set[str]) -> None:
    """Make the ticket of `parameters` over in the way that is asked for."""
    if "exhausted" in broken:
        for _ in range(10):
            command = ImportMaterial(parameters.key_id, parameters.import_token, UNDECRYPTABLE, None)
            with pytest.raises(MaterialUndecryptable):
                await house.run(command)
    if "void" in broken:
        for _ in range(3):
            house.clock.advance(1)
            await house.parameters(parameters.key_id)
    if "spent" in broken:
        await house.run(house.command(parameters))


async def _request(house: House, broken: set[str]) -> ImportMaterial:
    """Return an import into a key with material, by a ticket of its own, that breaks the rules asked for."""
    key_id = await house.key()
    await house.imported(key_id)
    other_key = await house.key()
    parameters = await house.parameters(other_key if broken & {"foreign", "external"} else key_id)
    await _end(house, parameters, broken)
    if "external" in broken:
        key_id = await house.key(origin=Origin.GENERATED)
    if "state" in broken:
        await house.switch(key_id, on=False)
    if "expired" in broken:
        house.clock.advance(DAY)
    material = OTHER_MATERIAL if "fingerprint" in broken else bytes(range(32))
    ciphertext = wrapped(parameters.public_key, material[:31] if "length" in broken else material)
    return ImportMaterial(
        key_id=key_id,
        import_token=ImportToken(b"A" * 256) if "unknown" in broken else parameters.import_token,
        ciphertext=(UNDECRYPTABLE if "unwrap" in broken else ciphertext)[: 255 if "size" in broken else 256],
        valid_to=house.clock.now() if "expiry" in broken else None,
    )


async def _refusal(house: House, broken: set[str]) -> None:
    command = await _request(house, broken)
    expected = next(REFUSALS[rule] for rank in RANKS for rule in rank if rule in broken)
    calls = house.hsm.calls
    caller = house.stranger if "account" in broken else house.caller
    with pytest.raises(HsmkmsError) as caught:
        await house.service.execute(caller, command)
    if isinstance(expected, TicketEnd):
        assert isinstance(caught.value, ImportTokenOver)
        assert caught.value.end is expected
    else:
        assert type(caught.value) is expected
    assert house.hsm.calls - calls == (1 if broken <= JUDGED_BY_THE_TOKEN else 0)


@pytest.mark.parametrize("rule", REFUSALS)
async def test_an_import_that_breaks_one_rule_is_refused_by_it(house: House, rule: str) -> None:
    await _refusal(house, {rule})


@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_an_import_that_breaks_two_rules_is_refused_by_the_earlier(house: House, first: str, second: str) -> None:
    await _refusal(house, {first, second})


# --- the other actions --------------------------------------------------------------------------------------

ALGORITHM: Final = WrappingAlgorithm.RSAES_PKCS1_V1_5


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ({"offer", "account"}, NotOffered),
        ({"account", "external"}, KeyNotFound),
        ({"external", "state"}, KeyNotExternal),
        ({"state"}, KeyStateForbids),
    ],
)
async def test_get_parameters_checks_algorithm_key_origin_and_state_in_this_order(
    housed: Callable[..., Awaitable[House]], broken: set[str], expected: type[HsmkmsError]
) -> None:
    house = await housed(Settings(algorithms=(WrappingAlgorithm.RSAES_OAEP_SHA_256,)))
    key_id = await house.key(origin=Origin.GENERATED if "external" in broken else Origin.EXTERNAL)
    if "state" in broken:
        await house.edit_key(key_id, archived=True)
    algorithm = ALGORITHM if "offer" in broken else WrappingAlgorithm.RSAES_OAEP_SHA_256
    caller = house.stranger if "account" in broken else house.caller
    with pytest.raises(expected):
        await house.service.execute(caller, GetImportParameters(key_id, algorithm, "WrappingAlgorithm"))
    assert house.hsm.pairs_made == [], "no pair is made for a request that is refused"


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ({"account", "external"}, KeyNotFound),
        ({"external", "state"}, KeyNotExternal),
        ({"state"}, KeyStateForbids),
    ],
)
async def test_delete_material_checks_key_origin_and_state_in_this_order(
    house: House, broken: set[str], expected: type[HsmkmsError]
) -> None:
    key_id = await house.key(origin=Origin.GENERATED if "external" in broken else Origin.EXTERNAL)
    if "state" in broken:
        await house.edit_key(key_id, archived=True)
    with pytest.raises(expected):
        await house.service.execute(house.stranger if "account" in broken else house.caller, DeleteMaterial(key_id))


async def test_to_another_account_a_key_does_not_exist_whatever_it_asks(house: House) -> None:
    key_id = await house.key()
    parameters = await house.parameters(key_id)
    for command in (
        DescribeKey(key_id),
        SwitchKey(key_id, on=True),
        SwitchKeys((key_id,), on=True),
        ArchiveKey(key_id, archived=True),
        ScheduleDeletion(key_id, 7),
        CancelDeletion(key_id),
        EnableRotation(key_id),
        Encrypt(key_id, Plaintext(b"x")),
        MakeDataKey(key_id, 32),
        DeleteMaterial(key_id),
        GetImportParameters(key_id, WrappingAlgorithm.RSAES_OAEP_SHA_256, "WrappingAlgorithm"),
        house.command(parameters),
    ):
        with pytest.raises(KeyNotFound):
            await house.service.execute(house.stranger, command)
    assert house.hsm.calls == 0
    assert (await house.ticket(parameters)).attempts == 0
