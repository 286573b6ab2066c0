"""Use cases on the life of a key: archive it, schedule and cancel its deletion; rotate it, which is refused.

Law: a key scheduled for deletion takes no import any more: its live tickets are void with the same transaction.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NoReturn

from hsmkms.core.errors import RotationNotOffered, RotationOfExternal
from hsmkms.core.events import EventTag
from hsmkms.core.ids import later
from hsmkms.core.keys import KeyAction, Origin
from hsmkms.service.commands import KeyShown
from hsmkms.service.rows import end_ticket, event_of, existing_key, permitted_key, ticket_event
from hsmkms.service.transactions import commit

if TYPE_CHECKING:
    from hsmkms.core.credentials import Caller
    from hsmkms.core.ports import Clock, Store, Writing
    from hsmkms.service.commands import ArchiveKey, CancelDeletion, EnableRotation, ScheduleDeletion

_SECONDS_PER_DAY: Final = 86_400


class LifecycleUseCases:
    """What callers do with the life of keys."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Work on `store`."""
        self._store = store
        self._clock = clock

    async def archive(self, caller: Caller, command: ArchiveKey) -> KeyShown:
        """Put a key into the archive, or take it out as it was before.

        Raises:
            KeyOutOfScope, KeyNotFound: by `existing_key`.
            KeyStateForbids: its state does not allow it.
        """
        action = KeyAction.ARCHIVE if command.archived else KeyAction.CANCEL_ARCHIVE
        tag = EventTag.KEY_ARCHIVED if command.archived else EventTag.KEY_UNARCHIVED

        def change(writing: Writing) -> KeyShown:
            now = self._clock.now()
            key = permitted_key(writing, caller, command.key_id, action, command.policy, now)
            key = writing.replace_key(key, replace(key, archived=command.archived))
            writing.append(event_of(caller, tag, key.key_id, now))
            return KeyShown(key, key.state(now))

        return await commit(self._store, change)

    async def schedule_deletion(self, caller: Caller, command: ScheduleDeletion) -> KeyShown:
        """Delete a key some days from now; until then it can do nothing but be kept.

        Raises:
            KeyOutOfScope, KeyNotFound: by `existing_key`.
            KeyStateForbids: its state does not allow it.
        """

        def change(writing: Writing) -> KeyShown:
            now = self._clock.now()
            action = KeyAction.SCHEDULE_DELETION
            key = permitted_key(writing, caller, command.key_id, action, command.policy, now)
            for ticket in writing.live_tickets(key.key_id):
                voided = ticket_event(caller, EventTag.TICKET_VOIDED, ticket, now)
                end_ticket(writing, ticket, ticket.voided(), voided)
            due = later(now, seconds=command.days * _SECONDS_PER_DAY)
            key = writing.replace_key(key, key.scheduled(due))
            writing.append(event_of(caller, EventTag.DELETION_SCHEDULED, key.key_id, now, due=due))
            return KeyShown(key, key.state(now))

        return await commit(self._store, change)

    async def cancel_deletion(self, caller: Caller, command: CancelDeletion) -> KeyShown:
        """Keep a key whose deletion is scheduled: Disabled, or PendingImport if it holds no material.

        Raises:
            KeyOutOfScope, KeyNotFound: by `existing_key`.
            KeyStateForbids: no deletion is scheduled.
        """

        def change(writing: Writing) -> KeyShown:
            now = self._clock.now()
            action = KeyAction.CANCEL_DELETION
            key = permitted_key(writing, caller, command.key_id, action, command.policy, now)
            key = writing.replace_key(key, key.kept())
            writing.append(event_of(caller, EventTag.DELETION_CANCELLED, key.key_id, now))
            return KeyShown(key, key.state(now))

        return await commit(self._store, change)

    async def enable_rotation(self, caller: Caller, command: EnableRotation) -> NoReturn:
        """Refuse, by the reason.

        Raises:
            KeyOutOfScope, KeyNotFound: by `existing_key`.
            RotationOfExternal: imported material is never replaced.
            RotationNotOffered: generated material is not, here.
        """
        now = self._clock.now()
        key = await self._store.read(lambda reading: existing_key(reading, caller, command.key_id, now))
        if key.origin is Origin.EXTERNAL:
            raise RotationOfExternal
        raise RotationNotOffered
