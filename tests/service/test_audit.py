"""Whatever changes state commits its audit event in the same transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.core.errors import MaterialLengthWrong, StoreUnavailable
from hsmkms.core.events import EventTag
from hsmkms.core.ids import later
from tests.service.house import DAY, MATERIAL, Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hsmkms.core.ids import KeyId
    from hsmkms.service.commands import ImportParameters
    from tests.service.house import House


class Scene:
    """A key with material that expires in a minute, and a ticket of it with one attempt left."""

    def __init__(self, house: House, key_id: KeyId, issued: ImportParameters) -> None:
        self.house = house
        self.key_id = key_id
        self.issued = issued

    async def facts(self) -> list[object]:
        """Return all that an action may change."""
        house = self.house
        return [
            await house.key_row(self.key_id),
            await house.ticket(self.issued),
            await house.pair(self.issued),
            await house.events(),
        ]

    async def create(self) -> None:
        await self.house.key()

    async def disable(self) -> None:
        await self.house.switch(self.key_id, on=False)

    async def issue(self) -> None:
        await self.house.parameters(self.key_id)

    async def import_(self) -> None:
        await self.house.run(self.house.command(self.issued))

    async def delete(self) -> None:
        await self.house.delete(self.key_id)

    async def refuse(self) -> None:
        with pytest.raises(MaterialLengthWrong):
            await self.house.run(self.house.command(self.issued, MATERIAL[:31]))

    async def supersede(self) -> None:
        for _ in range(3):
            self.house.clock.advance(1)
            await self.house.parameters(self.key_id)

    async def archive(self) -> None:
        await self.house.archive(self.key_id)

    async def unarchive(self) -> None:
        await self.house.archive(self.key_id)
        await self.house.archive(self.key_id, archived=False)

    async def schedule(self) -> None:
        await self.house.schedule(self.key_id)

    async def cancel(self) -> None:
        await self.house.schedule(self.key_id)
        await self.house.cancel(self.key_id)

    async def end(self) -> None:
        self.house.clock.set(await self.house.schedule(self.key_id))
        await self.house.sweeper.delete_keys()

    async def expire(self) -> None:
        self.house.clock.advance(60)
        await self.house.sweeper.expire_material()

    async def lapse(self) -> None:
        self.house.clock.advance(DAY)
        await self.house.sweeper.lapse_tickets()


ACTS: Final[dict[str, tuple[EventTag, ...]]] = {
    "create": (EventTag.KEY_CREATED,),
    "disable": (EventTag.KEY_DISABLED,),
    "issue": (EventTag.PARAMETERS_ISSUED,),
    "import_": (EventTag.MATERIAL_IMPORTED,),
    "delete": (EventTag.MATERIAL_DELETED,),
    "refuse": (EventTag.MATERIAL_REFUSED, EventTag.TICKET_LAPSED),
    "supersede": (
        EventTag.PARAMETERS_ISSUED,
        EventTag.PARAMETERS_ISSUED,
        EventTag.TICKET_VOIDED,
        EventTag.PARAMETERS_ISSUED,
    ),
    "archive": (EventTag.KEY_ARCHIVED,),
    "unarchive": (EventTag.KEY_ARCHIVED, EventTag.KEY_UNARCHIVED),
    "schedule": (EventTag.TICKET_VOIDED, EventTag.DELETION_SCHEDULED),
    "cancel": (EventTag.TICKET_VOIDED, EventTag.DELETION_SCHEDULED, EventTag.DELETION_CANCELLED),
    "end": (EventTag.TICKET_VOIDED, EventTag.DELETION_SCHEDULED, EventTag.KEY_DELETED),
    "expire": (EventTag.MATERIAL_EXPIRED,),
    "lapse": (EventTag.TICKET_LAPSED,),
}
# Counting an attempt changes no state and writes no event, so these two change rows before their event fails.
COUNTED_BEFORE: Final = {"import_", "refuse"}


@pytest.fixture
async def scene(housed: Callable[..., Awaitable[House]]) -> Scene:
    house = await housed(Settings(max_attempts=1))
    key_id = await house.key()
    await house.imported(key_id, valid_to=later(house.clock.now(), seconds=60))
    return Scene(house, key_id, await house.parameters(key_id))


@pytest.mark.parametrize("act", ACTS)
async def test_an_act_writes_its_events_and_they_name_who_and_what(scene: Scene, act: str) -> None:
    before = len(await scene.house.events())
    await getattr(scene, act)()
    written = (await scene.house.events())[before:]
    assert tuple(event.tag for event in written) == ACTS[act]
    for event in written:
        assert event.account == "acme"
        assert event.key_id is not None
        assert (event.actor, event.request_id) in {("AKIDacme", "request-1"), ("sweeper", None)}


@pytest.mark.parametrize("act", sorted(set(ACTS) - COUNTED_BEFORE))
async def test_an_act_whose_event_cannot_be_written_did_not_happen(scene: Scene, act: str) -> None:
    before = await scene.facts()
    scene.house.store.break_append = StoreUnavailable()
    with pytest.raises(StoreUnavailable):
        await getattr(scene, act)()
    assert await scene.facts() == before


@pytest.mark.parametrize("act", sorted(COUNTED_BEFORE))
async def test_an_import_whose_event_cannot_be_written_is_an_attempt_and_nothing_else(scene: Scene, act: str) -> None:
    key, _, _, events = await scene.facts()
    scene.house.store.break_append = StoreUnavailable()
    material = MATERIAL[:31] if act == "refuse" else MATERIAL
    with pytest.raises(StoreUnavailable):
        await scene.house.run(scene.house.command(scene.issued, material))
    assert (await scene.facts())[0] == key
    assert (await scene.facts())[3] == events
    ticket, pair = await scene.house.ticket(scene.issued), await scene.house.pair(scene.issued)
    assert (ticket.state.value, ticket.attempts, pair.live, pair.failures) == ("issued", 1, 1, 1)


async def test_no_event_holds_material_a_token_or_a_ciphertext(scene: Scene) -> None:
    command = scene.house.command(scene.issued)
    await scene.house.run(command)
    text = repr(await scene.house.events())
    for secret in (command.import_token.reveal(), command.ciphertext, MATERIAL, command.import_token.digest()):
        assert secret.hex() not in text
        assert repr(secret)[2:-1] not in text
