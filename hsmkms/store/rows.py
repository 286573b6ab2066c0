"""Rows to core values and back, field by field: neither shape owns the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hsmkms.core.credentials import EVERY_KEY, Credential, KeyScope, Role
from hsmkms.core.custody import CustodyObject, CustodyRole, Deployment
from hsmkms.core.errors import InternalFault
from hsmkms.core.ids import Account
from hsmkms.core.keys import Key, KeyUsage, Material, Origin
from hsmkms.core.material import Edition, Fingerprint
from hsmkms.core.ports import Tombstone
from hsmkms.core.records import split_head
from hsmkms.core.tickets import Pair, Spending, Ticket, TicketState
from hsmkms.core.wrapping import WrappingAlgorithm

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Row

    from hsmkms.core.ids import KeyId


def key_of(row: Row[Any]) -> Key:
    """Return the key of a row of keys joined with materials."""
    fingerprint = None
    if row.fingerprint_algorithm is not None:
        fingerprint = Fingerprint(row.fingerprint_algorithm, row.fingerprint_digest)
    material = None
    if row.record is not None:
        material = Material(row.record, row.brought_at, row.valid_to, row.ticket_id)
    return Key(
        key_id=row.key_id,
        account=row.account,
        alias=row.alias,
        description=row.description,
        usage=KeyUsage(row.usage),
        origin=Origin(row.origin),
        created_at=row.created_at,
        switched_on=bool(row.switched_on),
        archived=bool(row.archived),
        deletion_due=row.deletion_due,
        generation=row.generation,
        fingerprint=fingerprint,
        material=material,
        revision=row.revision,
    )


def key_values(key: Key) -> dict[str, object]:
    """Return the row of a key."""
    fingerprint = key.fingerprint
    return {
        "key_id": key.key_id,
        "account": key.account,
        "alias": key.alias,
        "description": key.description,
        "usage": key.usage.value,
        "origin": key.origin.value,
        "created_at": key.created_at,
        "switched_on": key.switched_on,
        "archived": key.archived,
        "deletion_due": key.deletion_due,
        "generation": key.generation,
        "fingerprint_algorithm": fingerprint.algorithm if fingerprint else None,
        "fingerprint_digest": fingerprint.digest if fingerprint else None,
        "revision": key.revision,
    }


def material_values(material: Material) -> dict[str, object]:
    """Return the row of a key's material, but for the key's id."""
    return {
        "record": material.record,
        "brought_at": material.brought_at,
        "valid_to": material.valid_to,
        "ticket_id": material.ticket_id,
        "sealing_version": sealing_version_of(material.record),
    }


def tag_values(key_id: KeyId, tags: Mapping[str, str]) -> list[dict[str, object]]:
    """Return the rows of a key's tags."""
    return [{"key_id": key_id, "name": name, "value": value} for name, value in tags.items()]


def tombstone_of(row: Row[Any]) -> Tombstone:
    """Return the tombstone of a row."""
    return Tombstone(row.key_id, row.account, Origin(row.origin), row.created_at, row.deleted_at)


def tombstone_values(tombstone: Tombstone) -> dict[str, object]:
    """Return the row of a tombstone."""
    return {
        "key_id": tombstone.key_id,
        "account": tombstone.account,
        "origin": tombstone.origin.value,
        "created_at": tombstone.created_at,
        "deleted_at": tombstone.deleted_at,
    }


def ticket_of(row: Row[Any]) -> Ticket:
    """Return the ticket of a row."""
    spending = None if row.spent_digest is None else Spending(row.spent_digest, row.spent_valid_to)
    return Ticket(
        ticket_id=row.ticket_id,
        token_digest=row.token_digest,
        account=row.account,
        key_id=row.key_id,
        pair_id=row.pair_id,
        algorithm=WrappingAlgorithm(row.algorithm),
        issued_at=row.issued_at,
        deadline=row.deadline,
        most_attempts=row.most_attempts,
        state=TicketState(row.state),
        attempts=row.attempts,
        given_back=row.given_back,
        spending=spending,
        revision=row.revision,
    )


def ticket_values(ticket: Ticket) -> dict[str, object]:
    """Return the row of a ticket."""
    spending = ticket.spending
    return {
        "ticket_id": ticket.ticket_id,
        "token_digest": ticket.token_digest,
        "account": ticket.account,
        "key_id": ticket.key_id,
        "pair_id": ticket.pair_id,
        "algorithm": ticket.algorithm.value,
        "issued_at": ticket.issued_at,
        "deadline": ticket.deadline,
        "most_attempts": ticket.most_attempts,
        "state": ticket.state.value,
        "attempts": ticket.attempts,
        "given_back": ticket.given_back,
        "spent_digest": spending.ciphertext_digest if spending else None,
        "spent_valid_to": spending.valid_to if spending else None,
        "revision": ticket.revision,
    }


def pair_of(row: Row[Any]) -> Pair:
    """Return the pair of a row of pairs joined with pair_secrets."""
    return Pair(
        pair_id=row.pair_id,
        account=row.account,
        algorithm=WrappingAlgorithm(row.algorithm),
        public_key=row.public_key,
        opened_at=row.opened_at,
        record=row.record,
        tickets=row.tickets,
        live=row.live,
        failures=row.failures,
        closed=bool(row.closed),
        revision=row.revision,
    )


def pair_values(pair: Pair) -> dict[str, object]:
    """Return the row of a pair, without its private half."""
    return {
        "pair_id": pair.pair_id,
        "account": pair.account,
        "algorithm": pair.algorithm.value,
        "public_key": pair.public_key,
        "opened_at": pair.opened_at,
        "tickets": pair.tickets,
        "live": pair.live,
        "failures": pair.failures,
        "closed": pair.closed,
        "revision": pair.revision,
    }


def pair_secret_values(record: bytes) -> dict[str, object]:
    """Return the row of a pair's private half, but for the pair's id."""
    return {"record": record, "sealing_version": sealing_version_of(record)}


def sealing_version_of(record: bytes) -> int:
    """Return the version of the sealing key that a record's content is under."""
    try:
        return split_head(record)[0]
    except ValueError as error:  # no host makes such a record
        raise InternalFault from error


def account_of(row: Row[Any]) -> Account:
    """Return the account of a row."""
    return Account(row.number, row.name)


def credential_of(row: Row[Any]) -> Credential:
    """Return the credential of a row of credentials joined with accounts."""
    return Credential(
        access_id=row.access_id,
        account=account_of(row),
        roles=frozenset(Role(each) for each in row.roles.split()),
        created_at=row.created_at,
        record=row.record,
        token_digest=row.token_digest,
        switched_on=bool(row.switched_on),
        scope=EVERY_KEY if row.scope is None else KeyScope.of_text(row.scope),
        valid_to=row.valid_to,
        replaced_by=row.replaced_by,
    )


def credential_values(credential: Credential) -> dict[str, object]:
    """Return the row of a credential."""
    return {
        "access_id": credential.access_id,
        "account_number": credential.account.number,
        "roles": " ".join(sorted(credential.roles)),
        "record": credential.record,
        "token_digest": credential.token_digest,
        "created_at": credential.created_at,
        "scope": credential.scope.text() if credential.scope.limited else None,
        **credential_life_values(credential),
    }


def credential_life_values(credential: Credential) -> dict[str, object]:
    """Return the columns of a credential's row that change."""
    return {
        "switched_on": credential.switched_on,
        "valid_to": credential.valid_to,
        "replaced_by": credential.replaced_by,
    }


def deployment_of(row: Row[Any], objects: Iterable[Row[Any]]) -> Deployment:
    """Return the deployment of its row and of those of its objects."""
    return Deployment(
        deployment_id=row.deployment_id,
        edition=Edition(row.edition),
        ready=row.ready,
        created_at=row.created_at,
        token_serial=row.token_serial,
        objects=tuple(object_of(each) for each in objects),
    )


def deployment_values(deployment: Deployment) -> dict[str, object]:
    """Return the row of a deployment, without its objects."""
    return {
        "only_row": 1,
        "deployment_id": deployment.deployment_id,
        "edition": deployment.edition.value,
        "ready": deployment.ready,
        "created_at": deployment.created_at,
        "token_serial": deployment.token_serial,
    }


def object_of(row: Row[Any]) -> CustodyObject:
    """Return the long-lived object of a row."""
    return CustodyObject(
        role=CustodyRole(row.role),
        object_id=row.object_id,
        challenge=row.challenge,
        answer=row.answer,
        version=row.version,
        transferable=row.transferable,
        made_at=row.made_at,
    )


def object_values(custody_object: CustodyObject) -> dict[str, object]:
    """Return the row of a long-lived object."""
    return {
        "role": custody_object.role.value,
        "object_id": custody_object.object_id,
        "challenge": custody_object.challenge,
        "answer": custody_object.answer,
        "version": custody_object.version,
        "transferable": custody_object.transferable,
        "made_at": custody_object.made_at,
    }
