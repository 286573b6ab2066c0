"""Use cases on keys: create, show, list, switch on and off, delete material."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from hsmkms.core import records
from hsmkms.core.errors import KeyNotFound
from hsmkms.core.events import EventTag
from hsmkms.core.ids import KeyId
from hsmkms.core.keys import FIRST_GENERATION, Key, KeyAction, Material, Origin
from hsmkms.core.ports import KeyFilter
from hsmkms.service.commands import Done, KeyShown, KeysShown
from hsmkms.service.rows import event_of, existing_key
from hsmkms.service.transactions import commit

if TYPE_CHECKING:
    from hsmkms.core.credentials import Caller
    from hsmkms.core.material import Edition
    from hsmkms.core.ports import Clock, Hsm, Store, Writing
    from hsmkms.service.commands import CreateKey, DeleteMaterial, DescribeKey, DescribeKeys, ListKeys, SwitchKey


class KeyUseCases:
    """What callers do with keys, imports aside."""

    def __init__(self, store: Store, hsm: Hsm, clock: Clock, edition: Edition) -> None:
        """Work on `store` and `hsm`, with material of `edition`."""
        self._store = store
        self._hsm = hsm
        self._clock = clock
        self._edition = edition

    async def create(self, caller: Caller, command: CreateKey) -> KeyShown:
        """Create a key; material that the token generates is committed together with it.

        Raises:
            AliasTaken: another key of the account has the alias.
        """
        key = Key(
            key_id=KeyId(str(uuid.uuid4())),
            account=caller.account.name,
            alias=command.alias,
            description=command.description,
            usage=command.usage,
            origin=command.origin,
            created_at=self._clock.now(),
        )
        if command.origin is Origin.GENERATED:
            owner = records.of_material(key.account, key.key_id, self._edition, FIRST_GENERATION)
            sealed = await self._hsm.generate_material(owner)
            key = key.with_material(sealed, Material(sealed.record, self._clock.now()))
        async with self._store.writing() as writing:
            await writing.add_key(key)
            await writing.append(
                event_of(caller, EventTag.KEY_CREATED, key.key_id, key.created_at, origin=command.origin.value)
            )
        return self._shown(key)

    async def describe(self, caller: Caller, command: DescribeKey) -> KeyShown:
        """Show one key.

        Raises:
            KeyNotFound: there is none of this id in this account.
        """
        async with self._store.reading() as reading:
            return self._shown(await existing_key(reading, caller.account.name, command.key_id))

    async def describe_all(self, caller: Caller, command: DescribeKeys) -> KeysShown:
        """Show several keys.

        Raises:
            KeyNotFound: one of them does not exist in this account.
        """
        async with self._store.reading() as reading:
            keys = await reading.keys(caller.account.name, command.key_ids)
        if {key.key_id for key in keys} != set(command.key_ids):
            raise KeyNotFound
        return KeysShown(len(keys), tuple(self._shown(key) for key in keys))

    async def list(self, caller: Caller, command: ListKeys) -> KeysShown:
        """Show a part of the account's keys."""
        wanted = KeyFilter(
            caller.account.name,
            command.states,
            command.origin,
            command.usage,
            command.search,
            command.newest_first,
        )
        now = self._clock.now()
        async with self._store.reading() as reading:
            page = await reading.list_keys(wanted, now, offset=command.offset, limit=command.limit)
        return KeysShown(page.total, tuple(KeyShown(key, key.state(now)) for key in page.keys))

    async def switch(self, caller: Caller, command: SwitchKey) -> Done:
        """Enable or disable a key; one that already is as wanted stays untouched.

        Raises:
            KeyNotFound: there is none of this id in this account.
            KeyStateForbids: its state does not allow it.
        """
        action = KeyAction.ENABLE if command.on else KeyAction.DISABLE
        tag = EventTag.KEY_ENABLED if command.on else EventTag.KEY_DISABLED

        async def change(writing: Writing) -> Done:
            now = self._clock.now()
            key = await existing_key(writing, caller.account.name, command.key_id)
            command.policy.require(action, key.state(now))
            if key.switched_on is not command.on:
                await writing.replace_key(key, key.switched(on=command.on))
                await writing.append(event_of(caller, tag, key.key_id, now))
            return Done()

        return await commit(self._store, change)

    async def delete_material(self, caller: Caller, command: DeleteMaterial) -> Done:
        """Remove imported material; the key and its fingerprint stay.

        Raises:
            KeyNotFound: there is no such key in this account.
            KeyNotExternal: its material was generated in the token.
            KeyStateForbids: its state does not allow it.
        """

        async def delete(writing: Writing) -> Done:
            now = self._clock.now()
            key = await existing_key(writing, caller.account.name, command.key_id)
            key.require_external()
            command.policy.require(KeyAction.DELETE_MATERIAL, key.state(now))
            await writing.replace_key(key, key.without_material())
            await writing.append(event_of(caller, EventTag.MATERIAL_DELETED, key.key_id, now))
            return Done()

        return await commit(self._store, delete)

    async def count(self, caller: Caller) -> int:
        """Return how many keys the caller's account has."""
        async with self._store.reading() as reading:
            return await reading.count_keys(caller.account.name)

    def _shown(self, key: Key) -> KeyShown:
        return KeyShown(key, key.state(self._clock.now()))
