"""Use cases on keys: create, show, list, switch on and off, relabel, delete material."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from hsmkms.core import records
from hsmkms.core.errors import KeyNotFound, TooManyKeys
from hsmkms.core.events import EventTag
from hsmkms.core.ids import KeyId
from hsmkms.core.keys import FIRST_GENERATION, Key, KeyAction, Material, Origin
from hsmkms.core.ports import KeyFilter
from hsmkms.service.commands import Done, KeyShown, KeysShown
from hsmkms.service.permissions import require_in_scope, require_new_in_scope
from hsmkms.service.rows import event_of, existing_key, permitted_key
from hsmkms.service.transactions import commit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsmkms.core.credentials import Caller
    from hsmkms.core.keys import StatePolicy
    from hsmkms.core.material import Edition
    from hsmkms.core.ports import Clock, Hsm, Reading, Store, Writing
    from hsmkms.service.commands import (
        CreateKey,
        DeleteMaterial,
        DescribeKey,
        DescribeKeys,
        ListKeys,
        RelabelKey,
        SwitchKey,
        SwitchKeys,
    )


class KeyUseCases:
    """What callers do with keys, imports aside."""

    def __init__(self, store: Store, hsm: Hsm, clock: Clock, edition: Edition, *, most_keys: int = 0) -> None:
        """Work on `store` and `hsm`, with material of `edition`; an account has at most `most_keys` (0: any number)."""
        self._store = store
        self._hsm = hsm
        self._clock = clock
        self._edition = edition
        self._most_keys = most_keys

    async def create(self, caller: Caller, command: CreateKey) -> KeyShown:
        """Create a key; material that the token generates is committed together with it.

        Raises:
            KeyOutOfScope: the caller's credential is limited to keys with tags of which this one has none.
            TooManyKeys: the account has as many as it may have.
            AliasTaken: another key of the account has the alias.
        """
        key_id = KeyId(str(uuid.uuid4()))
        require_new_in_scope(caller, key_id, command.tags)
        if self._most_keys and command.origin is Origin.GENERATED:
            # Before the token generates for nothing.
            await self._store.read(lambda reading: self._require_room(reading, caller))
        key = Key(
            key_id=key_id,
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

        def add(writing: Writing) -> None:
            self._require_room(writing, caller)
            writing.add_key(key, command.tags)
            writing.append(
                event_of(caller, EventTag.KEY_CREATED, key.key_id, key.created_at, origin=command.origin.value)
            )

        await self._store.write(add)
        return self._shown(key)

    async def describe(self, caller: Caller, command: DescribeKey) -> KeyShown:
        """Show one key.

        Raises:
            KeyOutOfScope, KeyNotFound: by `existing_key`.
        """
        now = self._clock.now()
        return self._shown(await self._store.read(lambda reading: existing_key(reading, caller, command.key_id, now)))

    async def describe_all(self, caller: Caller, command: DescribeKeys) -> KeysShown:
        """Show several keys.

        Raises:
            KeyOutOfScope: the caller's credential is limited to others than one of them.
            KeyNotFound: one of them does not exist in this account.
        """

        def look(reading: Reading) -> Sequence[Key]:
            require_in_scope(reading, caller, *command.key_ids)
            return reading.keys(caller.account.name, command.key_ids)

        keys = await self._store.read(look)
        now = self._clock.now()
        if {key.key_id for key in keys if not key.gone(now)} != set(command.key_ids):
            raise KeyNotFound
        return KeysShown(len(keys), tuple(self._shown(key) for key in keys))

    async def list(self, caller: Caller, command: ListKeys) -> KeysShown:
        """Show a part of the account's keys, of those that the caller may have to do with."""
        wanted = KeyFilter(
            caller.account.name,
            command.states,
            command.origin,
            command.usage,
            command.search,
            command.newest_first,
            command.tags,
            caller.scope,
        )
        now = self._clock.now()
        page = await self._store.read(
            lambda reading: reading.list_keys(wanted, now, offset=command.offset, limit=command.limit)
        )
        return KeysShown(page.total, tuple(KeyShown(key, key.state(now)) for key in page.keys))

    async def switch(self, caller: Caller, command: SwitchKey) -> KeyShown:
        """Enable or disable a key; one that already is as wanted stays untouched.

        Raises:
            KeyOutOfScope, KeyNotFound: by `existing_key`.
            KeyStateForbids: its state does not allow it.
        """

        def change(writing: Writing) -> KeyShown:
            return self._switch(writing, caller, command.key_id, on=command.on, policy=command.policy)

        return await commit(self._store, change)

    async def switch_all(self, caller: Caller, command: SwitchKeys) -> Done:
        """Enable or disable several keys, all or none.

        Raises:
            KeyOutOfScope, KeyNotFound: by `existing_key`, of one of them.
            KeyStateForbids: the state of one of them does not allow it.
        """

        def change(writing: Writing) -> Done:
            switched = [
                self._switch(writing, caller, key_id, on=command.on, policy=command.policy)
                for key_id in command.key_ids
            ]
            return Done(changed=any(each.changed for each in switched))

        return await commit(self._store, change)

    def _switch(self, writing: Writing, caller: Caller, key_id: KeyId, *, on: bool, policy: StatePolicy) -> KeyShown:
        now = self._clock.now()
        action = KeyAction.ENABLE if on else KeyAction.DISABLE
        key = permitted_key(writing, caller, key_id, action, policy, now)
        changed = key.switched_on is not on
        if changed:
            key = writing.replace_key(key, key.switched(on=on))
            tag = EventTag.KEY_ENABLED if on else EventTag.KEY_DISABLED
            writing.append(event_of(caller, tag, key.key_id, now))
        return KeyShown(key, key.state(now), changed)

    async def relabel(self, caller: Caller, command: RelabelKey) -> KeyShown:
        """Change a key's alias or description; one that already is as wanted stays untouched.

        Raises:
            KeyOutOfScope, KeyNotFound: by `existing_key`.
            KeyStateForbids: it is scheduled for deletion.
            AliasTaken: another key of the account has the alias.
        """

        def change(writing: Writing) -> KeyShown:
            now = self._clock.now()
            key = permitted_key(writing, caller, command.key_id, KeyAction.RELABEL, command.policy, now)
            wanted = replace(
                key,
                alias=key.alias if command.alias is None else command.alias,
                description=key.description if command.description is None else command.description,
            )
            changed = {"alias": wanted.alias != key.alias, "description": wanted.description != key.description}
            if any(changed.values()):
                key = writing.replace_key(key, wanted)
                writing.append(event_of(caller, EventTag.KEY_RELABELLED, key.key_id, now, **changed))
            return KeyShown(key, key.state(now), any(changed.values()))

        return await commit(self._store, change)

    async def delete_material(self, caller: Caller, command: DeleteMaterial) -> Done:
        """Remove imported material; the key and its fingerprint stay.

        Raises:
            KeyOutOfScope, KeyNotFound: by `existing_key`.
            KeyNotExternal: its material was generated in the token.
            KeyStateForbids: its state does not allow it.
        """

        def delete(writing: Writing) -> Done:
            now = self._clock.now()
            key = existing_key(writing, caller, command.key_id, now)
            key.require_external()
            command.policy.require(KeyAction.DELETE_MATERIAL, key.state(now))
            writing.replace_key(key, key.without_material())
            writing.append(event_of(caller, EventTag.MATERIAL_DELETED, key.key_id, now))
            return Done()

        return await commit(self._store, delete)

    async def count(self, caller: Caller) -> int:
        """Return how many keys of its account the caller may have to do with."""
        account, now = caller.account.name, self._clock.now()

        def look(reading: Reading) -> int:
            if caller.scope.limited:
                wanted = KeyFilter(account, scope=caller.scope)
                return reading.list_keys(wanted, now, offset=0, limit=1).total
            return reading.count_keys(account, now)

        return await self._store.read(look)

    @property
    def most_keys(self) -> int:
        """How many keys an account may have; 0: any number."""
        return self._most_keys

    def _require_room(self, reading: Reading, caller: Caller) -> None:
        if not self._most_keys:
            return
        if reading.count_keys(caller.account.name, self._clock.now()) >= self._most_keys:
            raise TooManyKeys(self._most_keys)

    def _shown(self, key: Key) -> KeyShown:
        return KeyShown(key, key.state(self._clock.now()))
