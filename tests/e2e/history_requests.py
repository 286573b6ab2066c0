"""The requests that histories are made of: each asked of the model and the service, and both then do it."""

from __future__ import annotations

import base64
import secrets
import time
from typing import TYPE_CHECKING, Final

from tests.e2e.cloud_client import ImportParameters
from tests.e2e.history_asking import Asking, Voice
from tests.e2e.history_house import HUAWEI, TENCENT
from tests.e2e.history_model import MATERIAL_BYTES, NEVER, Ciphertext, Parcel

if TYPE_CHECKING:
    from tests.e2e.history_model import Context, Key, Ticket

DAY_SECONDS: Final = 86_400
MATERIALS: Final = {name: secrets.token_bytes(MATERIAL_BYTES) for name in ("the one", "the other")}
"""For all keys of all histories: some hold the same."""


class Requests(Asking):
    """One history, and all that can be asked in it."""

    def create(self, voice: Voice, account: str, alias: str, *, external: bool) -> Key | None:
        """Create a key."""
        _, caller = self.party(voice, account)
        granted = self.ask(
            voice,
            account,
            lambda caller: self.model.may_create(caller, alias),
            lambda actor: actor.create(alias, external=external),
        )
        return self.model.created(caller, granted[1], alias, external=external) if granted else None

    def encrypt(self, voice: Voice, key: Key, plaintext: bytes, context: Context) -> Ciphertext | None:
        """Encrypt."""
        granted = self.ask(
            voice,
            key.account,
            lambda caller: self.model.encrypt(caller, key),
            lambda actor: actor.encrypt(key.key_id, plaintext, context),
        )
        return self.kept(Ciphertext(granted[1], key, plaintext, context)) if granted else None

    def alias(self, number: int) -> str:
        """Return an alias; what had it and is gone is swept first, since until then nobody can say if it is free."""
        alias = f"{self.prefix}-{number}"
        for key in self.model.keys:
            if key.alias == alias and key.gone and not key.swept:
                self.house.let_sweep(key)
        return alias

    def kept(self, ciphertext: Ciphertext) -> Ciphertext:
        """Remember a ciphertext."""
        self.ciphertexts.append(ciphertext)
        return ciphertext

    def switch(self, key: Key, voice: Voice, *, on: bool) -> None:
        """Enable or disable a key."""
        self.ask(
            voice,
            key.account,
            lambda caller: self.model.switch(caller, key, on=on),
            lambda actor: actor.switch(key.key_id, on=on),
        )

    def archive(self, key: Key, voice: Voice, *, archived: bool) -> None:
        """Archive a key, or take it out."""
        self.ask(
            voice,
            key.account,
            lambda caller: self.model.archive(caller, key, archived=archived),
            lambda actor: actor.client.call("ArchiveKey" if archived else "CancelKeyArchive", KeyId=key.key_id),
        )

    def schedule(self, key: Key, voice: Voice, days: int) -> None:
        """Have a key deleted, and learn when."""
        earliest = int(time.time()) + days * DAY_SECONDS
        granted = self.ask(
            voice,
            key.account,
            lambda caller: self.model.schedule(caller, key, earliest),
            lambda actor: actor.schedule(key.key_id, days),
        )
        if granted:
            actor, _ = self.party(Voice(TENCENT), key.account)
            key.deletion_date = actor.shown(key.key_id).deletion_date
            assert earliest <= key.deletion_date <= time.time() + days * DAY_SECONDS

    def cancel(self, key: Key, voice: Voice) -> None:
        """Keep a key after all."""
        self.ask(
            voice, key.account, lambda caller: self.model.cancel(caller, key), lambda actor: actor.cancel(key.key_id)
        )

    def wake(self, key: Key) -> None:
        """Take a key back to where it is used, so that whatever it remembers of its history shows."""
        self.cancel(key, Voice(HUAWEI))
        self.archive(key, Voice(TENCENT), archived=False)
        self.look(key)
        for ticket in key.tickets:
            self.import_(key, ticket, self.parcel(ticket, "its own"), NEVER, Voice(TENCENT))
        self.unload(key, Voice(TENCENT))
        newest = self.ticket(key, Voice(HUAWEI))
        if newest:
            foreign = [ticket for other in self.model.keys if other is not key for ticket in other.tickets[-1:]]
            for ticket in foreign[:1]:
                self.import_(key, ticket, self.junk(), NEVER, Voice(HUAWEI))
            for contents in ("too short", "the other", "its own"):
                self.import_(key, newest, self.parcel(newest, contents), NEVER, Voice(HUAWEI))
        self.look(key)

    def unload(self, key: Key, voice: Voice) -> None:
        """Delete the material of a key."""
        self.ask(
            voice,
            key.account,
            lambda caller: self.model.unload(caller, key),
            lambda actor: actor.client.delete_material(key.key_id),
        )

    def meanwhile(self, key: Key, voice: Voice, what: str | None) -> None:
        """Do something to a key before its material expires."""
        if what == "disable":
            self.switch(key, voice, on=False)
        elif what == "archive":
            self.archive(key, Voice(TENCENT), archived=True)
        elif what == "schedule":
            self.schedule(key, Voice(HUAWEI), 7)

    def ticket(self, key: Key, voice: Voice) -> Ticket | None:
        """Get import parameters."""
        granted = self.ask(
            voice,
            key.account,
            lambda caller: self.model.get_parameters(caller, key),
            lambda actor: actor.client.parameters(key.key_id),
        )
        if granted is None:
            return None
        return self.model.issued(key, granted[1].import_token, granted[1].public_key)

    def parcel(self, ticket: Ticket, contents: str) -> Parcel:
        """Wrap material for a ticket; the key's own if it ever had any."""
        if contents == "junk":
            return self.junk()
        material = MATERIALS.get(contents) or ticket.key.first or MATERIALS["the one"]
        if contents == "too short":
            material = material[:16]
        parameters = ImportParameters(ticket.token, ticket.public_key, NEVER)
        return Parcel(self.house.tencent[0].client.wrapped(parameters, material), material)

    @staticmethod
    def junk() -> Parcel:
        """Return what nobody can unwrap."""
        return Parcel(base64.b64encode(b"\1" + secrets.token_bytes(255)).decode(), None)

    def import_(self, key: Key, ticket: Ticket | None, parcel: Parcel, valid_to: int, voice: Voice) -> bool:
        """Import; tell whether it was granted."""
        if ticket is not None and ticket.key is not key and ticket.key.gone and not ticket.key.swept:
            self.house.let_sweep(ticket.key)  # until then its import token may still be known
        token = ticket.token if ticket else base64.b64encode(secrets.token_bytes(192)).decode()
        parameters = ImportParameters(token, "", NEVER)
        granted = self.ask(
            voice,
            key.account,
            lambda caller: self.model.import_(caller, key, ticket, parcel, valid_to),
            lambda actor: actor.client.import_(key.key_id, parameters, parcel.encrypted, valid_to or None),
        )
        return granted is not None
