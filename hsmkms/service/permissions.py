"""Who may give which command, and use which key.

Laws:

- every command has a row in `ROLES`, and no other place names a role;
- a credential that is limited to some keys is answered alike for every other key id, whether there is such a key or
  not;
- its roles are asked before anything is read, its scope before anything is told of a key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hsmkms.core.credentials import Role
from hsmkms.core.errors import KeyOutOfScope, RoleMissing
from hsmkms.service import commands

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.core.credentials import Caller
    from hsmkms.core.ids import KeyId
    from hsmkms.core.ports import KeyReading
    from hsmkms.service.commands import Command

_ADMIN: Final = frozenset({Role.ADMIN})
_IMPORTER: Final = frozenset({Role.IMPORTER})
_USER: Final = frozenset({Role.USER})
_WHO_SEES_KEYS: Final = frozenset({Role.ADMIN, Role.IMPORTER, Role.AUDITOR})
"""Who makes, switches or fills keys must see what they did; who only uses one has no list of the others."""
_ANYBODY: Final = frozenset(Role)

ROLES: Final[Mapping[type[Command], frozenset[Role]]] = {
    commands.CreateKey: _ADMIN,
    commands.SwitchKey: _ADMIN,
    commands.SwitchKeys: _ADMIN,
    commands.RelabelKey: _ADMIN,
    commands.ScheduleDeletion: _ADMIN,
    commands.CancelDeletion: _ADMIN,
    commands.ArchiveKey: _ADMIN,
    commands.EnableRotation: _ADMIN,
    commands.GetImportParameters: _IMPORTER,
    commands.ImportMaterial: _IMPORTER,
    commands.DeleteMaterial: _IMPORTER,
    commands.Encrypt: _USER,
    commands.Decrypt: _USER,
    commands.ReEncrypt: _USER,
    commands.MakeDataKey: _USER,
    commands.MakeRandom: _USER,
    commands.DescribeKey: _WHO_SEES_KEYS,
    commands.DescribeKeys: _WHO_SEES_KEYS,
    commands.ListKeys: _WHO_SEES_KEYS,
    commands.DescribeService: _ANYBODY,
}
"""The roles of which one is needed, by command."""


def require_role(caller: Caller, command: Command) -> None:
    """Return if one of the caller's roles may give the command.

    Raises:
        RoleMissing: none may.
    """
    needed = ROLES[type(command)]
    if needed.isdisjoint(caller.roles):
        raise RoleMissing(needed)


def require_in_scope(reading: KeyReading, caller: Caller, *key_ids: KeyId) -> None:
    """Return if the caller's credential may have to do with the keys of these ids, which need not exist.

    Raises:
        KeyOutOfScope: it is limited to others.
    """
    for key_id in key_ids:
        if not in_scope(reading, caller, key_id):
            raise KeyOutOfScope


def in_scope(reading: KeyReading, caller: Caller, key_id: KeyId) -> bool:
    """Tell whether the caller's credential may have to do with the key of this id, which need not exist."""
    scope = caller.scope
    if not scope.tags or key_id in scope.key_ids:
        return scope.holds(key_id, {})
    return scope.holds(key_id, reading.tags(caller.account.name, key_id))


def require_new_in_scope(caller: Caller, key_id: KeyId, tags: Mapping[str, str]) -> None:
    """Return if the caller's credential may make this key: one out of its scope it could never use.

    Raises:
        KeyOutOfScope: it is limited to others.
    """
    if not caller.scope.holds(key_id, tags):
        raise KeyOutOfScope
